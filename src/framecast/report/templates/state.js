// What the reader has chosen: a system and one beside it, the time step, the test sequence. It stands in the address
// after the place, #place?system=…&beside=…&step=…&sequence=…, so that a link shows another reader the same.
// Step 1 is the first forecast one; 0 and less are observed. Sequences count from 1, the worst first; 0 is none chosen.
// Without any of this script the page is complete.
const DEFAULTS = { system: "", beside: "", step: 1, sequence: 0 };
const choice = { ...DEFAULTS };
const watchers = [];
let writing = 0;

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const within = (value, low, high) => Math.min(Math.max(value, low), high);

const address = () => {
  const [place, query = ""] = location.hash.slice(1).split("?", 2);
  try {
    return [decodeURIComponent(place), query];
  } catch {
    return ["", query]; // half an escape: somebody cut the address
  }
};

const write = () => {
  const told = Object.entries(choice).filter(([name, value]) => value !== DEFAULTS[name]);
  const query = new URLSearchParams(told).toString();
  const hash = `#${encodeURIComponent(address()[0])}${query && "?"}${query}`;
  if (hash !== (location.hash || "#")) history.replaceState(null, "", hash);
};

// Browsers stop a page that writes its address at every frame, so it is written once a change has settled.
const choose = (values, settled = true) => {
  Object.assign(choice, values);
  for (const watcher of watchers) watcher(values);
  clearTimeout(writing);
  if (settled) writing = setTimeout(write, 150);
};

const fromAddress = () => {
  const query = address()[1];
  if (!query) return write(); // a plain link within the page: the choice stays
  const told = new URLSearchParams(query);
  const number = (name, least) => {
    const value = Number(told.get(name) ?? DEFAULTS[name]);
    return Number.isInteger(value) && value >= least ? value : DEFAULTS[name];
  };
  choose({
    system: told.get("system") ?? "",
    beside: told.get("beside") ?? "",
    step: number("step", -9999),
    sequence: number("sequence", 1),
  });
};

// A system is chosen wherever its name stands, and marked wherever it stands; chosen again it is let go.
watchers.push((values) => {
  if (!("system" in values || "beside" in values)) return;
  for (const element of all(".chosen, .beside-it")) element.classList.remove("chosen", "beside-it");
  for (const button of all("[aria-pressed][data-system], .pick")) {
    const system = button.closest("[data-system]").dataset.system;
    button.setAttribute("aria-pressed", String(system === choice.system));
  }
  for (const [name, mark] of [["beside", "beside-it"], ["system", "chosen"]]) {
    if (!choice[name]) continue;
    for (const element of all(`[data-system="${CSS.escape(choice[name])}"]`)) element.classList.add(mark);
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.pick, button[data-system]");
  const system = button?.closest("[data-system]").dataset.system;
  if (system) choose({ system: system === choice.system ? "" : system });
});
