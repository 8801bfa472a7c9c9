"""How pages look: by day, by night and on paper; nothing is fetched."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --faint: #5d666f; --paper: #fdfdfc; --box: #f1f2f3; --line: #d5d8db;
        --warn: #b3261e; --s0: #0072b2; --s1: #c2570c; --s2: #00805f; --s3: #b0568f; --s4: #a87900; --s5: #3d8fc4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e8; --faint: #9aa3ab; --paper: #16181a; --box: #212427; --line: #3a3f44;
          --warn: #ff9b92; --s0: #5ab4ea; --s1: #ff9a5c; --s2: #46c8a2; --s3: #e59cc8; --s4: #eabb45; --s5: #9dd2f5; }
}
body { margin: 0; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
       font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1.5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { max-width: 44rem; margin: .6rem 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .95rem; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--faint); font-weight: 600; }
td { overflow-wrap: break-word; }
td small { color: var(--faint); white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; padding: 0; list-style: none; }
.tiles li { background: var(--box); border-radius: 8px; padding: .7rem 1.1rem; min-width: 7.5rem; }
.tiles span, .tiles small { display: block; color: var(--faint); font-size: .85rem; }
.tiles strong { font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.notice { border-left: 4px solid var(--warn); background: var(--box); padding: .6rem 1rem; border-radius: 0 6px 6px 0; }
.figures { display: flex; flex-wrap: wrap; gap: 1.2rem 2rem; margin: 1rem 0; align-items: flex-start; }
figure { margin: 0; max-width: 100%; min-width: min(20rem, 100%); }
img { max-width: 100%; height: auto; display: block; border-radius: 4px; }
figcaption { color: var(--faint); font-size: .9rem; margin-top: .4rem; white-space: pre-line; overflow-wrap: anywhere;
             contain: inline-size; }
pre { background: var(--box); padding: .8rem 1rem; border-radius: 4px; overflow-x: auto; font-size: .9rem; }
svg { max-width: 100%; height: auto; display: block; font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); }
svg .title { font-weight: 600; }
svg .faint { fill: var(--faint); }
svg .small { fill: var(--faint); font-size: 11px; }
svg .grid { stroke: var(--line); }
svg .mark { stroke: var(--faint); stroke-dasharray: 3 3; }
svg .s0 { --c: var(--s0); } svg .s1 { --c: var(--s1); } svg .s2 { --c: var(--s2); }
svg .s3 { --c: var(--s3); } svg .s4 { --c: var(--s4); } svg .s5 { --c: var(--s5); }
svg .dot { fill: var(--c); fill-opacity: .38; }
svg .point { fill: var(--c); }
svg .whisker { stroke: var(--c); stroke-width: 1.5; }
svg .box { fill: var(--c); fill-opacity: .16; stroke: var(--c); stroke-width: 1.5; }
svg .median { stroke: var(--c); stroke-width: 3; }
svg .mean { fill: var(--paper); stroke: var(--ink); stroke-width: 1.5; }
svg .curve { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
@media print { body { padding: 0; } figure, svg, tr { break-inside: avoid; } }
"""
