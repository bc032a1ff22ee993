// Runs before anything is drawn, so that a remembered choice never flashes the other one.
(function () {
  let kept = null;
  try { kept = localStorage.getItem("emogram.theme"); } catch { /* storage is off: the system decides */ }
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
