// Without this script the page is complete; players then stand at the step at which they open.
const calm = matchMedia("(prefers-reduced-motion: reduce)");

for (const player of document.querySelectorAll("[data-player]")) {
  const [button, slider, output] = ["button", "input", "output"].map((name) => player.querySelector(name));
  const context = Number(player.dataset.context);
  const known = context + Number(player.dataset.known);
  const trained = Number(player.dataset.trained); // forecast steps
  const last = Number(slider.max);
  let timer = 0;

  const show = () => {
    const step = Number(slider.value);
    const isBeyond = step - context > trained;
    const told = [step > context ? `forecast step ${step - context}` : "observed"];
    if (isBeyond) told.push(`beyond the ${trained} of training`);
    if (step > known) told.push("the clip has ended");
    player.classList.toggle("past-training", isBeyond);
    player.style.setProperty("--frame", step - 1);
    player.querySelector("[data-reveal]")?.setAttribute("width", step);
    output.textContent = `step ${step} of ${last}, ${told.join(", ")}`;
    slider.setAttribute("aria-valuetext", output.textContent);
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
  };
  const advance = () => {
    const ended = Number(slider.value) === last;
    // Nothing starts by itself; for readers who asked for less motion nothing loops either.
    if (ended && calm.matches) return stop();
    slider.value = ended ? 1 : Number(slider.value) + 1;
    show();
  };
  const start = () => {
    if (Number(slider.value) === last) slider.value = 1;
    show();
    button.textContent = "Pause";
    timer = setInterval(advance, 1000 / Number(player.dataset.rate));
  };

  button.addEventListener("click", () => (timer ? stop() : start()));
  slider.addEventListener("input", () => {
    stop();
    show();
  });
  show();
}
