// The reader page. Everything that comes from an article or the server is set as text, never as markup, and no
// offset is computed here: the server cuts the sentences into parts, and the page lays them side by side.

import { FILES, copyText, download, oneLine, toRows } from "./takeaway.js";
import { FAILURES, KINDS, LABELS, french, plural } from "./words.js";

const $ = (id) => document.getElementById(id);
const per = new Intl.NumberFormat("fr", { style: "percent", maximumFractionDigits: 0 });
const decimal = new Intl.NumberFormat("fr", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

let labelled = null; // what the server answered
let title = "";
let opened = null; // a file's own text: a text field changes its line breaks, and offsets would point elsewhere
let asking = null; // the latest request for labels: it overtakes the ones before
let held = null; // how often each label was right on held-out articles; undefined: not known
let nodes = []; // of the sentences, in their order
let judged = new Map(); // sentence index → label that the reader chose; the model's own: confirmed
let unsaved = false; // there are judgements that the last download may not hold
let shown = new Set(); // labels that the filter keeps; empty: all
let onlyReview = false;
let current = null; // the sentence whose details are shown
let place = -1; // the sentence from which the keys walk on: the last that was shown

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(node.dataset, value);
    else if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children);
  return node;
}

function mark(label) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", `mark ${label}`);
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#mark-${label}`);
  svg.append(use);
  return svg;
}

const UNREAD = document.title;
const VAGUE = 20; // a figure whose 95 % interval is wider, in points, is no figure
const serving = (model) => { $("served").textContent = french(`modèle « ${model.name} »`); };
const narrow = matchMedia("(max-width: 60rem)"); // as in style.css
const labelOf = (sentence) => judged.get(sentence.index) ?? sentence.label;
const isCorrected = (sentence) => labelOf(sentence) !== sentence.label;
const isConfirmed = (sentence) => judged.get(sentence.index) === sentence.label;
const toReview = (sentence) => sentence.review && !judged.has(sentence.index);
const visible = (sentence) => (!shown.size || shown.has(labelOf(sentence))) && (!onlyReview || toReview(sentence));

// --- asking ---------------------------------------------------------------------------------------------

function say(text) {
  $("message").textContent = french(text);
  $("message").hidden = !text;
  if (text) $("message").scrollIntoView({ block: "nearest" });
}

async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  const token = $("token").value.replace(/[^!-~]/g, "?"); // no header holds what is not ASCII, and no token does
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) $("token-field").hidden = false;
  if (!response.ok) throw Object.assign(new Error("refused"), { status: response.status });
  return response;
}

async function read(event) {
  event?.preventDefault();
  const text = opened?.shown === $("text").value ? opened.raw : $("text").value;
  if (!text.trim()) return say("Collez d’abord un article.");
  say("");
  $("read").disabled = true;
  $("read").textContent = "Lecture…";
  asking?.abort();
  const mine = asking = new AbortController();
  const { signal } = mine;
  try {
    const headline = $("title").value.trim();
    const body = JSON.stringify({ title: headline, text, parts: true });
    const headers = { "Content-Type": "application/json" };
    const answer = await (await ask("v1/label", { method: "POST", headers, body, signal })).json();
    const model = await ask("v1/model", { signal }).then((response) => response.json()).catch(() => null);
    if (signal.aborted) return;
    [labelled, title] = [answer, headline];
    // The model may have changed between the two answers; figures of another one would mislead.
    held = model?.sha256 === labelled.model.sha256 ? model.held_out : undefined;
    begin();
  } catch (error) {
    if (signal.aborted) return;
    say(FAILURES[error.status] ?? (error.status ? "Le serveur n’a pas su répondre. Réessayez." : "Le serveur ne répond pas."));
  } finally {
    if (mine === asking) {
      $("read").disabled = false;
      $("read").textContent = "Lire l’article";
    }
  }
}

async function openFile() {
  const [file] = $("file").files;
  $("file").value = "";
  if (!file) return;
  if ($("title").value.trim() === title) $("title").value = ""; // of the article before; one typed for this file stays
  const text = decode(await file.arrayBuffer());
  if (text.includes("\0")) return say("Ce fichier n’est pas un fichier texte.");
  show(text);
}

// UTF-8, or what old French Windows wrote: UTF-16 behind its mark, else Windows-1252.
function decode(bytes) {
  const [first, second] = new Uint8Array(bytes);
  if (first + second === 0xff + 0xfe) return new TextDecoder(first === 0xff ? "utf-16le" : "utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

function show(raw) {
  $("text").value = raw;
  opened = { raw, shown: $("text").value };
  read();
}

async function example() {
  const before = asking;
  try {
    const text = await (await ask("example.txt")).text();
    if (asking !== before) return; // another article was asked for meanwhile
    $("title").value = "";
    show(text);
  } catch {
    say("L’exemple manque sur ce serveur.");
  }
}

// --- showing --------------------------------------------------------------------------------------------

function begin() {
  judged = new Map();
  unsaved = false;
  shown = new Set();
  onlyReview = false;
  place = -1;
  $("compose").hidden = true;
  $("reading").hidden = false;
  $("headline").textContent = title || "Article sans titre";
  $("headline").classList.toggle("untitled", !title);
  document.title = title ? `${title} · selon` : UNREAD;
  nodes = labelled.sentences.map(typeset);
  const paragraphs = [];
  for (const { index, paragraph } of labelled.sentences) {
    if (paragraphs[paragraph]) paragraphs[paragraph].append(" ", nodes[index]);
    else paragraphs[paragraph] = element("p", {}, nodes[index]);
  }
  if (!nodes.length) paragraphs.push(element("p", { className: "none" }, "Il n’y a pas de phrase dans ce texte."));
  else nodes[0].tabIndex = 0;
  $("body").replaceChildren(...paragraphs);
  hint();
  provenance();
  refresh();
  const review = labelled.sentences.filter(toReview).length;
  $("status").textContent = `${plural(labelled.sentences.length, "phrase")}, dont ${review} à relire.`;
  scrollTo(0, 0);
  $("headline").focus({ preventScroll: true });
}

function typeset(sentence) {
  const node = element("span", { className: "sentence", role: "button", tabIndex: -1, data: { index: sentence.index } });
  node.append(element("span", { className: "sr said" }));
  for (const part of sentence.parts) {
    const kinds = part.kinds.filter((kind) => KINDS[kind]);
    node.append(kinds.length ? element("span", { className: "cue" }, part.text) : part.text);
  }
  return node;
}

// Brings every sentence, count and list in line with the labels, corrections and filters.
function refresh() {
  labelled.sentences.forEach(dress);
  count();
  arrangeMarks($("body"));
}

function dress(sentence) {
  const node = nodes[sentence.index];
  const label = labelOf(sentence);
  node.classList.remove(...Object.keys(LABELS));
  node.classList.add(label);
  node.classList.toggle("review", toReview(sentence));
  node.classList.toggle("judged", judged.has(sentence.index));
  node.classList.toggle("corrected", isCorrected(sentence));
  node.classList.toggle("confirmed", isConfirmed(sentence));
  node.classList.toggle("dimmed", !visible(sentence));
  const said = [LABELS[label].name, toReview(sentence) && "à relire", isCorrected(sentence) && "corrigé",
    isConfirmed(sentence) && "confirmé"];
  node.querySelector(".said").textContent = `${said.filter(Boolean).join(", ")} : `;
  node.querySelector("svg.mark")?.remove();
  node.prepend(mark(label));
}

function count() {
  legend();
  claims();
  const counts = [[isCorrected, "corrigée"], [isConfirmed, "confirmée"]]
    .map(([keep, word]) => [labelled.sentences.filter(keep).length, word]).filter(([count]) => count);
  $("corrections-count").textContent = counts.map(([count, word]) => plural(count, word)).join(", ");
  $("corrections").disabled = !judged.size;
}

// Marks of sentences that begin on one line stand side by side in the margin.
function arrangeMarks(part) {
  const lines = new Map();
  for (const node of part.querySelectorAll(".sentence svg.mark")) {
    const line = Math.round(node.getBoundingClientRect().top + scrollY);
    lines.set(line, [...(lines.get(line) ?? []), node]);
  }
  for (const marks of lines.values()) {
    marks.forEach((node, place) => node.style.setProperty("--slot", marks.length - 1 - place));
  }
}

// How many in a hundred are right, as far as the articles tell; nothing where the label was never given there.
function right(label) {
  const share = held?.natural_precision[label];
  if (share === undefined) return "";
  const [value, low, high] = [share, ...(held.natural_interval[label] ?? [])].map((one) => Math.round(100 * one));
  return high - low > VAGUE ? `${low} à ${high} justes sur 100` : `${plural(value, "juste")} sur 100`;
}

function legend() {
  const count = (keep) => labelled.sentences.filter(keep).length;
  const focused = document.activeElement?.dataset?.filter;
  const buttons = Object.entries(LABELS).map(([label, { name, means }]) => {
    return element(
      "button",
      { type: "button", className: `filter ${label}`, data: { filter: label }, "aria-pressed": String(shown.has(label)) },
      mark(label),
      element("span", { className: "name" }, name),
      element("span", { className: "count" }, String(count((s) => labelOf(s) === label))),
      element("span", { className: "means" }, means),
      element("span", { className: "right" }, right(label)),
    );
  });
  buttons.push(element(
    "button",
    { type: "button", className: "filter review", data: { filter: "review" }, "aria-pressed": String(onlyReview) },
    element("span", { className: "question", "aria-hidden": "true" }, "?"),
    element("span", { className: "name" }, "À relire"),
    element("span", { className: "count" }, String(count(toReview))),
    element("span", { className: "means" }, "le modèle n’est pas assez sûr"),
  ));
  $("legend").replaceChildren(...buttons);
  if (focused) $("legend").querySelector(`[data-filter="${focused}"]`)?.focus();
  $("reliability").textContent = held
    ? `Justesse mesurée sur ${held.articles} articles jamais vus, ramenée à la part de chaque étiquette dans la presse.`
    : held === null ? "Ce modèle ne porte pas de chiffres sur des articles jamais vus."
    : "Les chiffres de ce modèle n’ont pas pu être lus.";
}

function filter(event) {
  const which = event.target.closest("[data-filter]")?.dataset.filter;
  if (!which) return;
  if (which === "review") onlyReview = !onlyReview;
  else if (!shown.delete(which)) shown.add(which);
  refresh();
  const left = labelled.sentences.filter(visible).length;
  $("status").textContent = `${plural(left, "phrase")} sur ${labelled.sentences.length}.`;
}

function hint() {
  current = null;
  $("body").querySelector(".sentence.current")?.classList.remove("current");
  const text = ["Survolez une phrase, cliquez pour la retenir, ou parcourez l’article avec ", element("kbd", {}, "↓"), " et ",
    element("kbd", {}, "↑"), french(" ; "), element("kbd", {}, "N"), " mène à la prochaine phrase à relire, ",
    element("kbd", {}, "Entrée"), " aux étiquettes, ", element("kbd", {}, "Échap"), " ramène à l’article."];
  $("detail").replaceChildren(element("p", { className: "hint" }, ...text));
  $("detail").classList.remove("open");
}

// The four probabilities, the cues and the keys to correct, of the sentence under the pointer or the focus.
function detail(sentence) {
  current = sentence;
  place = sentence.index;
  for (const node of $("body").querySelectorAll(".sentence.current")) node.classList.remove("current");
  nodes[sentence.index].classList.add("current");
  const label = labelOf(sentence);
  const rows = Object.entries(LABELS).map(([one, { name, key }]) => {
    const chosen = one === label;
    const choosing = judged.get(sentence.index) === one ? "Retirer" : chosen ? "Confirmer" : "Corriger en";
    const bar = element("span", { className: "bar", "aria-hidden": "true" }, element("span", { className: `fill ${one}` }));
    bar.firstChild.style.setProperty("--share", sentence.probabilities[one]);
    return element(
      "button",
      { type: "button", className: `row${chosen ? " chosen" : ""}`, data: { correct: one }, "aria-pressed": String(chosen),
        title: `${choosing} « ${name.toLowerCase()} » (touche ${key.toUpperCase()})` },
      mark(one), element("span", { className: "name" }, name), bar,
      element("span", { className: "value" }, per.format(sentence.probabilities[one])),
      element("kbd", { "aria-hidden": "true" }, key.toUpperCase()),
    );
  });
  const close = element("button", { type: "button", className: "close", "aria-label": "Fermer" }, "×");
  const sure = per.format(sentence.confidence);
  const heading = isCorrected(sentence)
    ? `Corrigé : ${LABELS[label].name.toLowerCase()} (le modèle disait ${LABELS[sentence.label].name.toLowerCase()})`
    : isConfirmed(sentence) ? `Confirmé : ${LABELS[label].name.toLowerCase()}, ${sure}` : `${LABELS[label].name}, ${sure}`;
  const lines = [close, element("p", { className: "heading" }, french(heading))];
  if (toReview(sentence)) {
    const below = `À relire : moins de ${per.format(labelled.review_below)} de confiance.`;
    lines.push(element("p", { className: "warning" }, french(below)));
  }
  if (sentence.truncated) lines.push(element("p", { className: "warning" }, french("Phrase très longue : le modèle n’en a lu que le début.")));
  lines.push(element("div", { className: "rows", role: "group", "aria-label": "Probabilités ; choisir corrige, confirme ou retire" }, ...rows));
  const cues = new Map();
  for (const { text, kind } of sentence.cues) {
    if (KINDS[kind]) cues.set(`${text.toLowerCase()} ${kind}`, kind === "quotation" ? KINDS[kind] : `${french("« ")}${text}${french(" »")} (${KINDS[kind]})`);
  }
  const found = [...new Set(cues.values())].join(", ");
  lines.push(element("p", { className: "found" }, element("strong", {}, french("Indices relevés : ")), found || "aucun", "."));
  const inside = $("detail").contains(document.activeElement);
  $("detail").replaceChildren(...lines);
  if (inside) focusRow(); // the button that had the focus is gone
  $("detail").classList.add("open");
}

function claims() {
  const list = labelled.sentences.filter((sentence) => labelOf(sentence) === "claim");
  $("claims").replaceChildren(...list.map((sentence) => {
    const link = element("a", { href: `#${sentence.index}`, data: { go: sentence.index } }, sentence.text);
    return element("li", {}, link, ...(toReview(sentence) ? [" ", element("span", { className: "flag" }, "à relire")] : []));
  }));
  $("claims-count").textContent = list.length || "";
  $("no-claims").hidden = list.length > 0;
  $("claims-actions").hidden = list.length === 0;
}

function provenance() {
  const { model } = labelled;
  serving(model);
  const version = model.version ? `, version ${model.version}` : "";
  const made = new Date().toLocaleString("fr", { dateStyle: "long", timeStyle: "short" });
  $("provenance").replaceChildren(element("p", {},
    french(
      `Marqué le ${made} par le modèle « ${model.name} »${version} (${model.sha256.slice(0, 12)}), ` +
      `logiciel selon, version ${model.selon}. ` +
      `Seuil de relecture : ${decimal.format(labelled.review_below)}. Texte : ${labelled.input_sha256.slice(0, 12)}. ` +
      "Étiquettes automatiques, à vérifier.",
    )));
}

// --- correcting and walking -----------------------------------------------------------------------------

// The label that the reader already chose, chosen again, is taken back.
function correct(sentence, label) {
  if (judged.get(sentence.index) === label) judged.delete(sentence.index);
  else judged.set(sentence.index, label);
  unsaved = judged.size > 0;
  dress(sentence);
  count();
  arrangeMarks(nodes[sentence.index].parentNode);
  detail(sentence);
}

function focus(sentence) {
  for (const node of $("body").querySelectorAll('.sentence[tabindex="0"]')) node.tabIndex = -1;
  const node = nodes[sentence.index];
  node.tabIndex = 0;
  node.focus();
  if (current !== sentence) detail(sentence); // it had the focus already, its details closed
  node.scrollIntoView({ block: "nearest" });
}

const focusRow = () => $("detail").querySelector(".chosen").focus();

function walk(from, step, keep = visible) {
  for (let index = from + step; index >= 0 && index < labelled.sentences.length; index += step) {
    if (keep(labelled.sentences[index])) return focus(labelled.sentences[index]);
  }
}

// From the details back to their sentence, from a sentence back to the article, where the pointer leads again.
function leave(event) {
  if ($("detail").contains(event.target)) return focus(current);
  hint();
  $("article").focus({ preventScroll: true });
}

// The same keys in the headline, on a sentence and in its details.
function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const focused = sentenceAt(event);
  const sentence = focused ?? current;
  const label = Object.keys(LABELS).find((one) => LABELS[one].key === event.key.toLowerCase());
  const moves = {
    ArrowDown: () => walk(place, 1), ArrowRight: () => walk(place, 1),
    ArrowUp: () => walk(place, -1), ArrowLeft: () => walk(place, -1),
    Home: () => walk(-1, 1), End: () => walk(labelled.sentences.length, -1),
    Escape: () => leave(event),
  };
  moves.n = moves.N = () => walk(place, event.shiftKey ? -1 : 1, toReview); // a capital may come from the caps lock
  if (focused) moves.Enter = moves[" "] = () => { detail(focused); focusRow(); };
  if (label && sentence) {
    if (!event.repeat) correct(sentence, label); // a key held down chooses once
  } else if (moves[event.key]) moves[event.key]();
  else return;
  event.preventDefault();
}

function sentenceAt(event) {
  const node = event.target.closest?.(".sentence");
  return node ? labelled.sentences[Number(node.dataset.index)] : null;
}

// --- taking away ----------------------------------------------------------------------------------------

// What the files are made of: the sentences as the reader left them, each on one line however the text was wrapped.
function reading() {
  const sentences = labelled.sentences.map((sentence) => ({
    ...sentence, text: oneLine(sentence.text), said: sentence.label, judged: judged.get(sentence.index), label: labelOf(sentence),
    confidence: sentence.probabilities[labelOf(sentence)], review: toReview(sentence), corrected: isCorrected(sentence),
  }));
  return { ...labelled, title, sentences };
}

const name = (what, ending) => `${what}-${labelled.input_sha256.slice(0, 8)}.${ending}`;

async function copy() {
  const copied = await copyText(reading());
  $("status").textContent = copied ? "Liste copiée." : "La liste n’a pas pu être copiée.";
  $("copy").textContent = copied ? "Copié" : "Copie impossible";
  setTimeout(() => { $("copy").textContent = "Copier la liste"; }, 2000);
}

// --- wiring ---------------------------------------------------------------------------------------------

$("compose").addEventListener("submit", read);
$("open").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", openFile);
$("example").addEventListener("click", example);
$("again").addEventListener("click", () => {
  if (unsaved && !confirm(french("Vos corrections ne sont pas téléchargées. Les abandonner ?"))) return;
  unsaved = false;
  document.title = UNREAD;
  $("reading").hidden = true;
  $("compose").hidden = false;
  $("text").select();
});
// Another article in place of the one before: that one's headline is not its own.
$("text").addEventListener("paste", ({ target }) => {
  const whole = target.selectionEnd - target.selectionStart === target.value.length;
  if (whole && $("title").value.trim() === title) $("title").value = "";
});
$("legend").addEventListener("click", filter);
$("cues").addEventListener("change", () => $("body").classList.toggle("plain", !$("cues").checked));
// A pointer that rests while the page scrolls beneath it, or a finger, points at nothing; and while a sentence or its
// details hold the focus, the pointer that crosses others on its way does not change what a click or a key corrects.
$("body").addEventListener("pointermove", (event) => {
  if (event.pointerType !== "mouse" || !(event.movementX || event.movementY)) return;
  if (narrow.matches || document.activeElement.closest(".sentence, #detail")) return;
  const found = sentenceAt(event);
  if (found && found !== current) detail(found);
});
$("body").addEventListener("focusin", (event) => { const found = sentenceAt(event); if (found) detail(found); });
$("body").addEventListener("click", (event) => { const found = sentenceAt(event); if (found) focus(found); });
for (const part of ["article", "detail"]) $(part).addEventListener("keydown", key);
$("detail").addEventListener("click", (event) => {
  if (event.target.closest(".close")) {
    focus(current); // the focus opens the details: they are closed after it
    hint();
  }
  const label = event.target.closest("[data-correct]")?.dataset.correct;
  if (label && current && event.detail < 2) correct(current, label); // a double click chooses once
});
$("claims").addEventListener("click", (event) => {
  const go = event.target.closest("[data-go]");
  if (!go) return;
  event.preventDefault();
  shown.clear();
  onlyReview = false;
  refresh();
  focus(labelled.sentences[Number(go.dataset.go)]);
});
$("copy").addEventListener("click", copy);
$("claims-actions").addEventListener("click", (event) => {
  const form = event.target.dataset.download;
  if (form) download(name("affirmations", form), FILES[form].type, FILES[form].write(reading()));
});
$("corrections").addEventListener("click", () => {
  download(name("corrections", "jsonl"), "application/x-ndjson", toRows(reading()));
  unsaved = false;
});
addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
new ResizeObserver(() => arrangeMarks($("body"))).observe($("body"));
ask("v1/model").then((response) => response.json()).then(serving, () => {});
