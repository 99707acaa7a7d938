// Without this script the page is complete; players then show their last step.
const calm = matchMedia("(prefers-reduced-motion: reduce)");

for (const player of document.querySelectorAll("[data-player]")) {
  const [button, slider, output] = ["button", "input", "output"].map((name) => player.querySelector(name));
  const context = Number(player.dataset.context);
  const trained = Number(player.dataset.trained ?? Infinity); // forecast steps
  const last = Number(slider.max);
  let timer = 0;

  const show = () => {
    const step = Number(slider.value);
    const beyond = step - context > trained ? ", beyond the horizon of training" : "";
    const phase = step > context ? `forecast step ${step - context}${beyond}` : "observed";
    player.style.setProperty("--frame", step - 1);
    player.querySelector("[data-reveal]")?.setAttribute("width", step);
    output.textContent = `step ${step} of ${last}, ${phase}`;
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
