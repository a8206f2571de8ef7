"""The style sheet that the pages of a data check and of a training share."""

STYLE = """
:root { --bad: #a3161f; --bad-soft: #fbe3e2; --doubt: #7a4b00; --doubt-soft: #fbeccb; }
@media (prefers-color-scheme: dark) {
  :root { --bad: #ff9c94; --bad-soft: #4b1d1d; --doubt: #f0c060; --doubt-soft: #43340f; }
}
[hidden] { display: none !important; }
:focus-visible { outline: 3px solid var(--map); outline-offset: 2px; border-radius: 4px; }
nav { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 18px 0 0; }
nav a { display: inline-block; padding: 6px 0; }
a { color: var(--map); }
.verdict {
  border: 1px solid var(--line); border-left: 8px solid var(--score); border-radius: 10px;
  background: var(--card); padding: 14px 16px; margin: 16px 0 0; font-size: 1.06rem;
}
.verdict p { margin: 0; } .verdict p + p { margin-top: 8px; font-size: 0.95rem; }
.verdict.error { border-left-color: var(--bad); }
.verdict.warning { border-left-color: var(--doubt); }
.verdict b { font-size: 1.2rem; }
.command {
  display: block; white-space: pre-wrap; user-select: all; background: var(--out);
  border-radius: 8px; padding: 10px 12px; margin-top: 6px;
}
.command span { display: inline-block; max-width: 100%; overflow-wrap: anywhere; }
.facts dd { overflow-wrap: anywhere; }
.level {
  display: inline-block; padding: 0 8px; border-radius: 9px; border: 1px solid currentColor;
  font-size: 0.8rem; font-weight: 600; color: var(--doubt); background: var(--doubt-soft);
}
.level.error { color: var(--bad); background: var(--bad-soft); }
.swatch {
  display: inline-block; width: 0.9em; height: 0.9em; margin-right: 8px; border-radius: 3px;
  border: 1px solid var(--quiet); vertical-align: -0.08em;
}
.swatch.void {
  background: repeating-linear-gradient(135deg, #222 0 2px, #fff 2px 5px);
}
.legend { display: flex; flex-wrap: wrap; gap: 2px 20px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 460px));
  gap: 14px; }
.plots { margin-bottom: 12px; } .plots figure { margin: 0; }
svg .grid { stroke: var(--line); fill: none; }
.gallery {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 16px;
  margin-top: 14px;
}
.gallery figure {
  margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  overflow: hidden;
}
.gallery img {
  display: block; width: 100%; height: 260px; object-fit: contain; background: var(--out);
}
.gallery figcaption { padding: 10px 14px 12px; margin: 0; overflow-wrap: anywhere; }
.gallery figcaption > * { display: block; margin-top: 3px; max-width: none; }
.gallery .why { color: var(--ink); }
.gallery .level { display: inline-block; margin-right: 4px; }
@media (max-width: 600px) {
  nav { gap: 0 16px; } nav a { padding: 10px 0; }
}
@media print {
  nav { display: none; }
  .gallery figure { break-inside: avoid; }
  .swatch { print-color-adjust: exact; }
}
"""
