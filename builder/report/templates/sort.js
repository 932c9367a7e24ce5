// "0.412 ms" is a number, a digest is a word; what is neither larger nor smaller is in the order of its text.
const number = (text) => Number(/^[-\u2212]?[\d,.]+(?=\s|$)/.exec(text)?.[0].replace("\u2212", "-").replaceAll(",", "") ?? NaN);
const compare = (one, other) =>
  number(one) - number(other) || one.localeCompare(other, "en", { numeric: true });
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      const value = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows].sort(
        (a, b) => compare(value(a), value(b)) * (up ? 1 : -1));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      table.tBodies[0].append(...rows);
    });
  });
}
