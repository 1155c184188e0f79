"""A checkpoint → a Hugging Face folder: fp16 weights with their fill-mask head, tokenizer, model card."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from train.atomic import refuse_others, whole_folder
from train.pretraining.checkpoints import State, load_weights, read_state, verify
from train.pretraining.pieces import BOS, EOS, PAD, load_tokenizer
from train.pretraining.settings import ENCODER_FILES, EncoderConfig, PretrainConfig


def build_model(settings: EncoderConfig, pieces: int) -> Any:
    """Return a ``CamembertForMaskedLM`` with random weights and tied embeddings, in training mode.

    Not all of transformers' defaults are CamemBERT's: one token type, and the two positions that the padding
    id takes are added to ``max_length``.
    """
    from transformers import CamembertConfig, CamembertForMaskedLM

    config = CamembertConfig(
        vocab_size=pieces,
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.intermediate,
        max_position_embeddings=settings.max_length + 2,
        type_vocab_size=1,
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.dropout,
        layer_norm_eps=1e-5,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        tie_word_embeddings=True,
    )
    return CamembertForMaskedLM(config).train()


def write_encoder(checkpoint: Path, output: Path) -> Path:
    """See `train.pretraining.export`."""
    from transformers.utils import logging as transformers_logging

    from train.classifiers.halving import save_half

    transformers_logging.disable_progress_bar()  # for files that are written in a blink
    verify(checkpoint)
    work = checkpoint.absolute().parents[1]
    state = read_state(checkpoint)
    config = PretrainConfig.model_validate(state.settings)
    tokenizer = load_tokenizer(work, config.encoder.max_length)
    model = build_model(config.encoder, len(tokenizer))
    load_weights(checkpoint, model)
    # What fine-tuning starts with; pre-training had its own. On a CPU, drawing the dropout of every attention weight
    # takes a quarter of the time (measured at 4 x 256).
    model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob = 0.1, 0.0
    refuse_others(output, ENCODER_FILES)
    with whole_folder(output) as draft:
        save_half(model, draft)
        tokenizer.save_pretrained(draft)
        summary = json.loads((work / "summary.json").read_text(encoding="utf-8"))
        (draft / "README.md").write_text(model_card(config, state, summary, model.num_parameters()), "utf-8")
    return output


def model_card(config: PretrainConfig, state: State, summary: dict[str, Any], parameters: int) -> str:
    """Return the README.md of an encoder: what it is, what it read and did not, how it was trained."""
    shape, masked = config.encoder, config.masked
    rows = "\n".join(
        f"| {source['description']} | {source['documents']:,} | {source['characters'] / 1e6:.1f} M "
        f"| {source['left_out']:,} |"
        for source in summary["sources"]
    )
    loss = state.validation_loss
    figure = "not measured" if loss is None else f"{loss:.3f} (perplexity {math.exp(loss):.1f})"
    vectors = (
        "random"
        if config.vectors is None
        else f"skip-gram vectors of the same pieces ({config.vectors.epochs} epochs over at most "
        f"{config.vectors.tokens / 1e6:.0f} million pieces)"
    )
    stages = ", ".join(f"{stage.length} pieces from {stage.start:.0%} of the budget" for stage in masked.stages)
    left_out = ", ".join(f"`{name}`" for name in summary["excluded_from"]) or "none"
    return f"""---
language: fr
license: apache-2.0
library_name: transformers
pipeline_tag: fill-mask
tags: [camembert, fill-mask]
---
# {config.name}: a compact French encoder

CamemBERT's architecture, {shape.layers} layers of {shape.hidden}, {shape.heads} heads, {parameters / 1e6:.1f} M
parameters (fp16 on disk, fp32 in use), a Unigram vocabulary of {config.tokenizer.pieces:,} pieces and inputs of up to
{shape.max_length} pieces. Meant as the start of fine-tuning for French news; as a language model of its own it is weak.

```python
from transformers import AutoModel, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("encoder"), AutoModel.from_pretrained("encoder")
```

Text must come in the form it was trained on: NFC, plain spaces, `"` for every quotation mark (no space inside), `'` for
every apostrophe (`train.normalisation.normalise`).

## Text
The text is not included here, nor can it be read back from the weights.

| source | documents read | characters | left out |
|---|---|---|---|
{rows}

Held out ({summary["held_out_articles"]:,} articles, by id and by every paragraph of theirs, wherever it stood):
{left_out}. A further {config.held_out:.1%} of the documents served for the validation loss alone.

## Training
- {state.tokens / 1e6:.1f} million pieces in {state.step:,} steps and {state.seconds / 60:.0f} minutes
  ({state.machine}).
- Embeddings start from: {vectors}.
- Masked-language modelling: {masked.masked:.0%} of the words, whole words, 80/10/10; packed rows without padding
  ({stages}); {masked.batch_tokens:,} pieces a step.
- AdamW, peak learning rate {masked.learning_rate:g}, {masked.warmup:.0%} warm-up, then linear to zero at its end;
  weight decay {masked.weight_decay:g}; gradients clipped at {masked.clip:g}; dropout {shape.dropout:g}; seed
  {config.seed}.
- Validation loss: {figure} nats for each hidden piece.

## Limits
It knows the French of its sources: names and events later than they are unknown to it, and it repeats their views and
their gaps. It was not examined for bias.

## Licence
The weights: Apache-2.0. The text they were trained on belongs to its publishers and is not part of this.
"""
