// What a reader takes away: the list of claims as text, CSV, JSON or Markdown, and the article with its corrections.

// A sentence of a wrapped text holds line breaks, and perhaps a word that was cut at one, as train/normalisation.py reads it.
const CUT_WORD = /(\p{L})[-‐\u00ad][ \t]*(?:\r\n|\n|\r)[ \t]*(?=\p{Ll})(?!(?:ils?|elles?|on|je|tu|nous|vous|ce|là|ci|t)(?!\p{L}))/gu;
export const oneLine = (text) => text.replace(CUT_WORD, "$1").replace(/\r\n|\n|\r/g, " ");

const claims = (reading) => reading.sentences
  .filter((sentence) => sentence.label === "claim")
  .map(({ index, start, end, text, confidence, review, corrected }) =>
    ({ sentence: index, start, end, text, confidence, review, corrected }));

// For a French Excel: semicolons, decimal commas; a cell that a spreadsheet would take for a formula is made text.
function toCsv(reading) {
  const cell = (value) => {
    const text = typeof value === "number" ? String(value).replace(".", ",") : String(value);
    return `"${(/^[=+\-@\t\r]/.test(text) ? "'" : "") + text.replaceAll('"', '""')}"`;
  };
  const header = ["sentence", "start", "end", "text", "confidence", "review", "corrected"];
  return "\ufeff" + [header, ...claims(reading).map((row) => header.map((name) => row[name]))]
    .map((row) => row.map(cell).join(";")).join("\r\n") + "\r\n";
}

function toJson(reading) {
  const { title, input_sha256, model, review_below } = reading;
  return JSON.stringify({ title, input_sha256, model, review_below, claims: claims(reading) }, null, 1) + "\n";
}

function toMarkdown(reading) {
  const plain = (text) => text.replace(/[\\`*_[\]<>#|]|^[-+]/g, "\\$&").replace(/^(\d+)([.)])/, "$1\\$2");
  const lines = claims(reading).map((row) => `- ${plain(row.text)}${row.review ? " *(à relire)*" : ""}`);
  const by = `${reading.model.name} (${reading.model.sha256.slice(0, 12)})`;
  return `# Affirmations à vérifier${reading.title ? ` : ${plain(reading.title)}` : ""}\n\n${lines.join("\n")}\n\n` +
    `Étiquettes automatiques de ${plain(by)} : elles disent qui se porte garant, pas ce qui est vrai.\n`;
}

export const FILES = {
  csv: { type: "text/csv", write: toCsv },
  json: { type: "application/json", write: toJson },
  md: { type: "text/markdown", write: toMarkdown },
};

// The whole article, as `selon corpus check` reads it: every row with the label that stands after correction. A sentence
// that the reader did not judge has no `reader` among its annotations (JSON leaves out what is undefined).
export function toRows(reading) {
  const id = reading.input_sha256.slice(0, 16);
  return reading.sentences.map(({ index, paragraph, text, label, said, judged }) => JSON.stringify({
    article_id: id, sentence: index, paragraph, text, label, title: reading.title.trim().split(/\s+/).join(" "),
    annotations: { model: said, reader: judged },
  }) + "\n").join("");
}

export function download(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Says whether the list was copied.
export async function copyText(reading) {
  const text = claims(reading).map((row) => `– ${row.text}`).join("\n");
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // no clipboard without HTTPS, but on this machine
    const before = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "sr";
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    before.focus();
    return copied;
  }
}
