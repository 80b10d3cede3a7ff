() => {
  window.affekt = (kind) => { // which tab is shown: the style sheet shows what belongs to it
    if (document.body.dataset.kind === kind) return;
    document.body.dataset.kind = kind;
    window.dispatchEvent(new CustomEvent("affekt:kind"));
  };
  window.affektSpan = (unit, span) => window.dispatchEvent(new CustomEvent("affekt:span", { detail: { unit, span } }));
  document.documentElement.lang = "en";
  document.body.dataset.kind = document.body.dataset.kind || "scene";
}
