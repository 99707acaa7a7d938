// A click on a score opens where it comes from: what it is, then the cells behind it as the end of the page has them.
const dialogs = Object.fromEntries(all("dialog").map((dialog) => [dialog.dataset.dialog, dialog]));

const definition = (metric) => {
  const names = all("dl.metrics dt");
  return names.find((name) => name.textContent === metric)?.nextElementSibling.textContent ?? "";
};

const facts = (told) => {
  const list = document.createElement("dl");
  list.className = "facts";
  for (const [name, text] of told.filter(([, text]) => text)) {
    list.append(Object.assign(document.createElement("dt"), { textContent: name }));
    list.append(Object.assign(document.createElement("dd"), { textContent: text }));
  }
  return list;
};

const explain = (score) => {
  const source = document.getElementById(score.hash.slice(1))?.closest("details, section.run");
  if (!source) return false;
  const [mean, sd] = all(".number", score).map((number) => number.dataset);
  const copy = source.cloneNode(true);
  for (const element of all("[id]", copy)) element.removeAttribute("id");
  const summary = copy.querySelector("summary");
  const title = summary?.textContent ?? [mean.dataset, mean.model, mean.depth && `depth-${mean.depth}`, mean.loss].join(" ");
  summary?.remove();
  const heading = Object.assign(document.createElement("h3"), { textContent: title });
  const about = facts([
    ["metric", mean.metric],
    ["unit", definition(mean.metric)],
    ["mode", mean.mode],
    ["forecast steps", mean.steps],
    [sd ? "mean over seeds" : "value", mean.value],
    ["± sd over seeds", sd?.value],
    ["seeds", source.matches("details") ? String(all("table.cells tbody tr", source).length) : ""],
    ["record", mean.record],
  ]);
  dialogs.provenance.querySelector("[data-body]").replaceChildren(heading, about, ...copy.childNodes);
  dialogs.provenance.showModal();
  dialogs.provenance.scrollTop = 0;
  return true;
};

document.addEventListener("click", (event) => {
  const score = event.target.closest("a.score");
  const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey);
  if (score && isPlain && explain(score)) event.preventDefault();
  if (event.target.closest("[data-help]")) dialogs.help.showModal();
  if (event.target.closest("[data-close]") || event.target.matches("dialog")) event.target.closest("dialog").close();
});
