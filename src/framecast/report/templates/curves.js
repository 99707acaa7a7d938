// The error of every system at each forecast step, drawn from the numbers of the table beside it, which the cursor reads.
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 224;
const BOX = { left: 56, top: 10, bottom: HEIGHT - 28 };
const drawn = new WeakMap();

const add = (parent, tag, attributes, text = "") => {
  const element = parent.appendChild(document.createElementNS(SVG, tag));
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
};

// Round numbers between two ends: powers of ten where the axis is logarithmic.
const ticks = (low, high, isLog) => {
  if (isLog) {
    const powers = [];
    for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high; power++) powers.push(10 ** power);
    return powers.length ? powers : [low, high];
  }
  const rough = (high - low) / 4;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * unit).find((size) => size >= rough);
  return Array.from({ length: 6 }, (_, index) => Math.ceil(low / step) * step + index * step).filter((tick) => tick <= high);
};

const drawCurves = (curves) => {
  const svg = curves.querySelector("svg");
  const right = svg.clientWidth - 8; // one unit is one pixel, so that letters keep their size
  svg.setAttribute("viewBox", `0 0 ${svg.clientWidth} ${HEIGHT}`);
  const horizon = Number(curves.dataset.horizon);
  const lines = all("[data-means]", curves).map((row) => [row, row.dataset.means.split(" ").map(Number)]);
  const values = lines.flatMap(([, means]) => means).filter(Number.isFinite);
  const positive = values.filter((value) => value > 0);
  const isLog = positive.length > 0 && positive.length === values.length && Math.max(...values) > 20 * Math.min(...values);
  const low = isLog ? Math.min(...values) / 1.3 : Math.min(0, ...values);
  const high = isLog ? Math.max(...values) * 1.3 : Math.max(...values, low + 1e-9) * 1.05;
  const warp = isLog ? Math.log : (value) => value;
  const x = (step) => BOX.left + ((step - 0.5) / horizon) * (right - BOX.left);
  const y = (value) => BOX.bottom - ((warp(value) - warp(low)) / (warp(high) - warp(low))) * (BOX.bottom - BOX.top);
  svg.replaceChildren();
  for (const tick of ticks(low, high, isLog)) {
    add(svg, "line", { class: "grid", x1: BOX.left, x2: right, y1: y(tick), y2: y(tick) });
    add(svg, "text", { x: BOX.left - 6, y: y(tick) + 4, "text-anchor": "end" }, String(Number(tick.toPrecision(3))));
  }
  for (const step of [1, horizon]) add(svg, "text", { x: x(step), y: HEIGHT - 8, "text-anchor": "middle" }, `step ${step}`);
  for (const end of curves.dataset.ends.split(" ").filter(Boolean)) {
    const at = (x(Number(end)) + x(Number(end) + 1)) / 2;
    add(svg, "line", { class: "trained", x1: at, x2: at, y1: BOX.top, y2: BOX.bottom });
  }
  const cursor = add(svg, "line", { class: "now", y1: BOX.top, y2: BOX.bottom });
  for (const [row, means] of lines) {
    const points = means.map((mean, index) => (Number.isFinite(mean) ? `${x(index + 1)},${y(mean).toFixed(1)}` : "")).join(" ");
    const style = row.dataset.ink ? { stroke: row.dataset.ink } : { class: "reference" };
    const line = add(svg, "polyline", { points, ...style, "data-system": row.dataset.system });
    if (row.dataset.system === choice.system) line.classList.add("chosen");
    if (row.dataset.system === choice.beside) line.classList.add("beside-it");
  }
  drawn.set(curves, { cursor, x, horizon });
};

const readCurves = (curves) => {
  if (!drawn.has(curves)) drawCurves(curves);
  const { cursor, x, horizon } = drawn.get(curves);
  const step = within(choice.step, 1, horizon);
  for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(step));
  curves.querySelector("[data-step]").textContent = `step ${step}, at the cursor`;
  for (const row of all("[data-means]", curves)) {
    const cell = row.querySelector("[data-now]");
    const [mean, sd] = [row.dataset.means, row.dataset.sds ?? ""].map((told) => told.split(" ")[step - 1]);
    cell.textContent = (mean ?? "–") + (sd ? ` ± ${sd}` : "");
    cell.dataset.value = mean ?? "";
  }
};

const curvesInView = new Set();
const lookingAtCurves = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    curvesInView[isIntersecting ? "add" : "delete"](target);
    if (isIntersecting) readCurves(target);
  }
});
for (const curves of all("[data-curves]")) lookingAtCurves.observe(curves);
watchers.push(() => curvesInView.forEach(readCurves));
addEventListener("resize", () => {
  for (const curves of all("[data-curves]")) drawn.delete(curves);
  curvesInView.forEach(readCurves);
});
