// Tables sort by any column and are filtered by words; names of systems in them can be chosen. A table becomes so when
// it comes into view, for a page may hold very many.
const FEW_ROWS = 3;
const MANY_ROWS = 8;

// The header cell of each column: of several rows of headers the lowest one that spans no other column.
const headers = (table) => {
  const found = [];
  const held = []; // columns that a cell of an upper row reaches down into
  [...table.tHead.rows].forEach((row, level) => {
    let column = 0;
    for (const cell of row.cells) {
      while (held[column] > level) column++;
      for (let span = 0; span < cell.colSpan; span++, column++) {
        if (cell.colSpan === 1) found[column] = cell;
        held[column] = level + cell.rowSpan;
      }
    }
  });
  return found;
};

const worth = (row, column) => {
  const cell = row.cells[column];
  const told = cell?.dataset.value ?? cell?.querySelector("[data-value]")?.dataset.value ?? cell?.textContent.trim() ?? "";
  const number = Number(told.replace("−", "-"));
  return told === "" || Number.isNaN(number) ? told.toLowerCase() : number;
};

// Numbers before words, and what is not there last, whichever way the column runs.
const compare = (a, b) => {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a.localeCompare(b);
};
const isMissing = (value) => value === "" || value === "–" || value === "nan" || value === "not run";

const sortBy = (table, rows, column, order) => {
  const sorted = rows.map((row) => [worth(row, column), row]);
  if (order !== "none") {
    const sign = order === "ascending" ? 1 : -1;
    sorted.sort(([a], [b]) => isMissing(a) - isMissing(b) || sign * compare(a, b));
  }
  table.tBodies[0].append(...sorted.map(([, row]) => row));
  table.classList.toggle("resorted", order !== "none");
};

const makeSortable = (table, rows) => {
  const columns = headers(table);
  columns.forEach((header, column) => {
    if (!header || header.querySelector("a, button")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...header.childNodes);
    header.append(button);
    header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[header.getAttribute("aria-sort")];
      for (const other of columns) if (other?.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", next);
      sortBy(table, rows, column, next);
    });
  });
};

const makeFilter = (table, rows) => {
  const box = document.createElement("p");
  box.className = "filter";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "filter rows";
  input.setAttribute("aria-label", `Filter the rows of ${table.closest(".scroller").getAttribute("aria-label")}`);
  const told = document.createElement("output");
  box.append(input, told);
  table.closest(".scroller").before(box);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let kept = 0;
    for (const row of rows) {
      const text = `${row.dataset.system ?? ""} ${row.textContent}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      kept += !row.hidden;
    }
    told.textContent = words.length ? `${kept} of ${rows.length} rows` : "";
  });
};

// What a cell says becomes a button, so that the keyboard reaches it too.
const makeButton = (cell, name, title) => {
  const made = document.createElement("button");
  made.type = "button";
  made.className = name;
  made.title = title;
  made.append(...cell.childNodes);
  cell.append(made);
  return made;
};

const makeChoosable = (table) => {
  for (const header of all("th[data-system]", table)) {
    const pick = makeButton(header, "pick", "choose this system everywhere");
    pick.setAttribute("aria-pressed", String(header.dataset.system === choice.system));
  }
  for (const told of all("[data-shows]", table)) makeButton(told, "shows", "show its forecasts");
};

const liven = (table) => {
  const rows = [...table.tBodies[0].rows];
  makeChoosable(table);
  if (table.tBodies.length > 1 || !table.tHead || rows.length < FEW_ROWS) return;
  makeSortable(table, rows);
  if (rows.length >= MANY_ROWS) makeFilter(table, rows);
};

const lookingAtTables = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    lookingAtTables.unobserve(target);
    liven(target);
  }
}, { rootMargin: "400px" });
for (const table of all("main .scroller > table")) lookingAtTables.observe(table);
