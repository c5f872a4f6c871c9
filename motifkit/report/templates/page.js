"use strict";
// Logos are drawn when they come near the view: thousands of letters need not exist before.
const drawLogo = logo => {
  let column = Number(logo.dataset.before), begin = column, out = "";
  for (const stack of logo.dataset.logo.split(";")) {
    let top = 200;
    for (const [, letter, tall] of stack.matchAll(/([ACGT])(\d+)/g)) {
      top -= tall;
      out += `<use href="#nt${letter}" transform="matrix(.94 0 0 ${tall} ${column}.03 ${top})"/>`;
    }
    column += 1;
  }
  logo.innerHTML = `${out}<path class="line" d="M${begin} 201h${column - begin}" stroke-width="3"/>`;
  delete logo.dataset.logo;
};
const logos = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries)
    if (isIntersecting) { logos.unobserve(target); if (target.dataset.logo !== undefined) drawLogo(target); }
}, { rootMargin: "400px" });
for (const logo of document.querySelectorAll("svg[data-logo]")) logos.observe(logo);
const keyOf = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement, table = heading.closest("table"), column = heading.cellIndex;
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map(row => [keyOf(row, column), row]);
    const numbers = rows.every(([key]) => key === "" || !Number.isNaN(Number(key)));
    rows.sort(([a], [b]) => (numbers ? Number(a) - Number(b) : a.localeCompare(b)) * (rising ? 1 : -1));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  });
}
for (const input of document.querySelectorAll("input[data-table]")) {
  const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
  const status = document.getElementById(input.getAttribute("aria-describedby"));
  const texts = rows.map(row => row.textContent.toLowerCase());
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, i) => { row.hidden = !texts[i].includes(wanted); shown += !row.hidden; });
    status.textContent = wanted ? `${shown} of ${rows.length} shown` : "";
  });
}
// A region that scrolls can be reached by the keyboard; one that does not needs no stop.
const regions = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    if (target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const region of document.querySelectorAll(".scroll")) regions.observe(region);
addEventListener("beforeprint", () => {
  document.querySelectorAll("svg[data-logo]").forEach(drawLogo);
  document.querySelectorAll("details").forEach(details => { details.open = true; });
});
