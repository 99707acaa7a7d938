// Context, truth, forecast and |difference| of one test sequence at the time cursor. A sheet of frames is decoded when
// its stage comes into view, once; what is behind the screen is drawn when it comes back.
const sheets = new WeakMap();
const inView = new Set();
const scale = bar.dataset.difference.match(/../g).map((digits) => parseInt(digits, 16));

const sheetOf = (film) => {
  if (!sheets.has(film)) {
    const image = new Image();
    image.src = film.style.getPropertyValue("--sheet").trim().slice(4, -1).replace(/^["']|["']$/g, "");
    sheets.set(film, image.decode().then(() => {
      film.dataset.decoded = "";
      const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      return context.getImageData(0, 0, canvas.width, canvas.height);
    }));
  }
  return sheets.get(film);
};

// What a stage shows: its scene, the frame at the cursor, and the systems it has of those that are chosen. A system
// that has not stored this sequence has row 0; while none is chosen, the first one that has is shown,
// and while no sequence is, the first one that all have.
const shownOn = (stage) => {
  const scenes = all(".scene", stage);
  const shared = scenes.find((scene) => !scene.dataset.rows.split(" ").includes("0")) ?? scenes[0];
  const scene = choice.sequence ? scenes[within(choice.sequence, 1, scenes.length) - 1] : shared;
  const cast = all(".cast [data-system]", stage).map((member) => member.dataset.system);
  const rowOf = scene.dataset.rows.split(" ").map(Number);
  const [context, horizon] = [Number(stage.dataset.context), Number(stage.dataset.horizon)];
  const step = within(choice.step, 1 - context, horizon);
  const wanted = cast.indexOf(choice.system);
  const system = wanted < 0 ? rowOf.findIndex(Boolean) : wanted;
  const beside = cast.indexOf(choice.beside);
  return { scenes, scene, cast, rowOf, context, horizon, step, system, beside: beside === system ? -1 : beside };
};

const columns = (scene) => Number(scene.style.getPropertyValue("--columns"));
const rows = (scene) => Number(scene.style.getPropertyValue("--rows"));

// Columns from…to of a frame; the sheet is the same everywhere, only where it is laid differs.
const paste = (canvas, sheet, size, frame, row, from = 0, to = size.width) => {
  const [x, y] = [frame * size.width, row * size.height];
  canvas.getContext("2d").putImageData(sheet, -x, -y, x + from, y, to - from, size.height);
};

// |forecast − truth|, mean over colours, in 256 colours from 0 to 1: the same for every frame of the page.
const apart = (sheet, size, frame, row) => {
  const picture = new ImageData(size.width, size.height);
  for (let y = 0; y < size.height; y++) {
    for (let x = 0; x < size.width; x++) {
      const truth = 4 * (y * sheet.width + frame * size.width + x);
      const told = truth + 4 * row * size.height * sheet.width;
      let sum = 0;
      for (let colour = 0; colour < 3; colour++) sum += Math.abs(sheet.data[truth + colour] - sheet.data[told + colour]);
      const level = 3 * Math.round(sum / 3);
      picture.data.set([scale[level], scale[level + 1], scale[level + 2], 255], 4 * (y * size.width + x));
    }
  }
  return picture;
};

const blank = (canvas, size) => {
  canvas.width = size.width; // setting it clears the picture
  canvas.height = size.height;
};

const drawFilm = (stage, shown, sheet) => {
  const { scene, rowOf, context, step, system, beside } = shown;
  const size = { width: sheet.width / columns(scene), height: sheet.height / rows(scene) };
  const frame = context + step - 1;
  const cut = beside < 0 ? size.width : Math.round((Number(stage.querySelector("[data-wipe]").value) / 100) * size.width);
  const pane = (name) => stage.querySelector(`[data-pane="${name}"]`);
  const sides = [[rowOf[system], 0, cut], [rowOf[beside], cut, size.width]].filter(([row, from, to]) => row && to > from);
  for (const canvas of all("[data-pane]", stage)) blank(canvas, size);
  paste(pane("context"), sheet, size, Math.min(frame, context - 1), 0);
  paste(pane("truth"), sheet, size, frame, 0);
  if (step > 0) {
    for (const [row, from, to] of sides) {
      paste(pane("forecast"), sheet, size, frame, row, from, to);
      const difference = apart(sheet, size, frame, row);
      pane("difference").getContext("2d").putImageData(difference, 0, 0, from, 0, to - from, size.height);
    }
  }
  all(".cast canvas", stage).forEach((canvas, index) => {
    blank(canvas, size);
    if (step > 0 && rowOf[index]) paste(canvas, sheet, size, frame, rowOf[index]);
  });
};

const drawLines = (stage, { scene, context, step }) => {
  for (const line of all(".now", scene)) {
    line.setAttribute("x1", context + step - 0.5);
    line.setAttribute("x2", context + step - 0.5);
  }
};

const describe = (stage, shown) => {
  const { scenes, scene, cast, rowOf, context, horizon, step, system, beside } = shown;
  const errors = scene.dataset.errors.split(";");
  const members = all(".cast [data-system]", stage);
  const trained = members.map((member) => Number(member.dataset.trained ?? Infinity));
  members.forEach((member, index) => {
    member.querySelector("[data-error]").textContent = (step > 0 && errors[index]?.split(" ")[step - 1]) || "";
    member.classList.toggle("shown", index === system);
    member.classList.toggle("shown-beside", index === beside);
    member.classList.toggle("absent", !rowOf[index]);
    member.classList.toggle("beyond", step > trained[index]);
  });
  scenes.forEach((other) => other.classList.toggle("off", other !== scene));
  all("[data-sequence]", stage).forEach((other, index) =>
    other.setAttribute("aria-pressed", String(scenes[index] === scene)),
  );
  const list = stage.querySelector(".sequences");
  if (list.dataset.at !== scene.dataset.scene) {
    list.dataset.at = scene.dataset.scene; // what is chosen comes into view once, and then leaves the list alone
    list.scrollTop = list.querySelector('[aria-pressed="true"]').offsetTop - list.offsetTop - 4;
  }
  const told = [step > 0 ? `forecast step ${step} of ${horizon}` : `observed step ${context + step} of ${context}`];
  if (choice.step > horizon) told.push("it ends here");
  told.push(beside < 0 ? cast[system] : `${cast[system]} | ${cast[beside]}`);
  for (const name of [cast[system], cast[beside]].filter((name) => trained[cast.indexOf(name)] < step)) {
    told.push(`beyond the ${trained[cast.indexOf(name)]} steps that ${name} was trained on`);
  }
  for (const name of [choice.system, choice.beside].filter((name) => name && !rowOf[cast.indexOf(name)])) {
    told.push(`no stored forecast of ${name} here`);
  }
  stage.querySelector(".where").textContent = told.join(" · ");
  const standing = stage.querySelector(".standing");
  if (standing) standing.textContent = scene.dataset.standing;
  stage.classList.toggle("beyond", step > Math.min(trained[system], trained[beside] ?? Infinity));
  const wipe = stage.querySelector("[data-wipe]");
  if (wipe) wipe.disabled = beside < 0;
  stage.classList.toggle("wiped", beside >= 0 && step > 0);
};

const drawStage = async (stage) => {
  const shown = shownOn(stage);
  describe(stage, shown);
  if (!stage.classList.contains("of-films")) return drawLines(stage, shown);
  const sheet = await sheetOf(shown.scene);
  const now = shownOn(stage); // decoding takes a while; meanwhile the reader may have gone on
  if (now.scene === shown.scene) drawFilm(stage, now, sheet);
};

const wipeTo = (stage, share) => {
  stage.querySelector("[data-wipe]").value = 100 * share;
  stage.style.setProperty("--cut", `${100 * within(share, 0, 1)}%`);
  drawStage(stage);
};

// The four panes as they stand, enlarged by whole pixels, with what they show written under them.
const save = (stage) => {
  const panes = all("[data-pane]", stage);
  const { scene, step } = shownOn(stage);
  const [gap, text] = [12, 22];
  const zoom = Math.max(1, Math.floor(256 / panes[0].width));
  const [width, height] = [panes[0].width * zoom, panes[0].height * zoom];
  const canvas = document.createElement("canvas");
  canvas.width = gap + panes.length * (width + gap);
  canvas.height = height + 2 * gap + 2 * text;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.font = "13px sans-serif";
  panes.forEach((pane, index) => {
    const left = gap + index * (width + gap);
    context.fillStyle = "#ddd";
    context.fillRect(left, gap + text, width, height);
    context.drawImage(pane, left, gap + text, width, height);
    context.fillStyle = "#1c1f24";
    context.fillText(pane.closest("figure").querySelector("figcaption").textContent, left, gap + 12);
  });
  const name = `${stage.dataset.stage}, test sequence ${scene.dataset.scene}`;
  context.fillText(`${name} · ${stage.querySelector(".where").textContent}`, gap, canvas.height - gap, canvas.width - 2 * gap);
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${stage.dataset.stage}-sequence-${scene.dataset.scene}-step-${step}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
};

const stages = all("[data-stage]");
const looking = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    inView[isIntersecting ? "add" : "delete"](target);
    if (isIntersecting) drawStage(target);
  }
}, { rootMargin: "200px" });
for (const stage of stages) {
  looking.observe(stage);
  stage.querySelector("[data-wipe]")?.addEventListener("input", (event) => wipeTo(stage, event.target.value / 100));
  stage.querySelector("[data-save]")?.addEventListener("click", () => save(stage));
  for (const button of all("[data-sequence]", stage)) {
    button.addEventListener("click", () => choose({ sequence: Number(button.dataset.sequence) }));
  }
  for (const pane of all("[data-pane=forecast], [data-pane=difference]", stage)) {
    const follow = (event) => {
      const box = pane.getBoundingClientRect();
      if (stage.classList.contains("wiped") && event.buttons) wipeTo(stage, (event.clientX - box.left) / box.width);
    };
    pane.addEventListener("pointerdown", follow);
    pane.addEventListener("pointermove", follow);
  }
  for (const canvas of all("[data-scale]", stage)) {
    const strip = new ImageData(256, 1);
    for (let level = 0; level < 256; level++) strip.data.set([...scale.slice(3 * level, 3 * level + 3), 255], 4 * level);
    canvas.getContext("2d").putImageData(strip, 0, 0);
  }
}
watchers.push(() => inView.forEach((stage) => drawStage(stage)));

// A sequence named in a table, if its forecast is stored, leads to it.
document.addEventListener("click", (event) => {
  const told = event.target.closest("[data-shows]");
  const stage = told?.closest(".dataset").querySelector("[data-stage]");
  const at = stage ? all(".scene", stage).findIndex((scene) => scene.dataset.scene === told.dataset.shows) : -1;
  if (at < 0) return;
  choose({ sequence: at + 1, system: told.dataset.of });
  stage.scrollIntoView({ block: "nearest" });
});
