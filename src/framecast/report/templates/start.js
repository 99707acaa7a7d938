// Everything is defined; the page may now be explored, beginning with what its address says.
document.documentElement.classList.add("js");
addEventListener("hashchange", fromAddress);
choose({}, false);
fromAddress();
