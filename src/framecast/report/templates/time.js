// One clock for every clip and curve. Nothing starts by itself; who asked for less motion sees no loop either.
const RATE = 6; // steps a second
const bar = document.querySelector("[data-bar]");
const slider = bar.querySelector("[data-time]");
const button = bar.querySelector("[data-play]");
const calmer = matchMedia("(prefers-reduced-motion: reduce)");
let clock = 0;

const spans = all("[data-stage], [data-curves]");
const first = Math.min(1, ...spans.map((span) => 1 - Number(span.dataset.context ?? 0)));
const last = Math.max(1, ...spans.map((span) => Number(span.dataset.horizon)));

const stepInWords = (step) => {
  if (step > 0) return `forecast step ${step}`;
  return step ? `observed, ${-step} before the last` : "last observed step";
};

const stop = () => {
  if (!clock) return;
  clearInterval(clock);
  clock = 0;
  button.textContent = "▶";
  button.setAttribute("aria-label", "Play");
  choose({});
};
const move = (step, settled = true) => choose({ step: within(step, first, last) }, settled);
const advance = () => {
  const ended = choice.step >= last;
  if (ended && calmer.matches) return stop();
  move(ended ? first : choice.step + 1, false);
};
const play = () => {
  if (clock) return stop();
  if (choice.step >= last) move(first, false);
  clock = setInterval(advance, 1000 / RATE);
  button.textContent = "❚❚";
  button.setAttribute("aria-label", "Pause");
};

const KEYS = {
  ArrowLeft: () => move(choice.step - 1),
  ArrowRight: () => move(choice.step + 1),
  Home: () => move(first),
  End: () => move(last),
  " ": play,
};

// A key belongs to what has the focus where that uses it itself: a text, a list, a button, a table that scrolls.
const isTaken = (key, target) => {
  if (document.querySelector("dialog[open]")) return true;
  if (target.closest("select, textarea, input:not([type=range], [type=checkbox])")) return true;
  if (target.closest("input[data-wipe], input[type=checkbox]")) return !/^[1-9]$/.test(key);
  if (key === " ") return Boolean(target.closest("button, summary, a, audio, video"));
  const box = target.closest(".scroller, pre");
  return Boolean(box) && key in KEYS && box.scrollWidth > box.clientWidth;
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.defaultPrevented) return;
  if (bar.hidden || !document.querySelector("[data-keys]").checked || isTaken(event.key, event.target)) return;
  if (event.key in KEYS) {
    if (event.key !== " ") stop();
    KEYS[event.key]();
  } else if (/^[1-9]$/.test(event.key)) choose({ sequence: Number(event.key) });
  else return;
  event.preventDefault();
});

slider.min = first;
slider.max = last;
slider.addEventListener("input", () => {
  stop();
  move(Number(slider.value));
});
button.addEventListener("click", play);
for (const select of all("[data-choose]", bar)) {
  select.addEventListener("change", () => choose({ [select.dataset.choose]: select.value }));
}
bar.addEventListener("submit", (event) => event.preventDefault());

watchers.push(() => {
  slider.value = choice.step;
  const words = stepInWords(choice.step);
  slider.setAttribute("aria-valuetext", words);
  bar.querySelector("[data-told]").textContent = words;
  for (const select of all("[data-choose]", bar)) select.value = choice[select.dataset.choose];
});
bar.hidden = !spans.length;
