// A score links into a folded part of the page.
const unfold = () => {
  const place = location.hash.slice(1).split("?")[0];
  const target = place && document.getElementById(decodeURIComponent(place));
  for (let box = target?.closest?.("details"); box; box = box.parentElement.closest("details")) box.open = true;
  target?.scrollIntoView?.();
};
addEventListener("hashchange", unfold);
unfold();

const contents = document.querySelector("nav details");
if (contents && matchMedia("(max-width: 70rem)").matches) contents.open = false;
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((box) => (box.open = true)));
