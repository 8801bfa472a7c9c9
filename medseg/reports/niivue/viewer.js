'use strict';
// Draws an image and its mask with NiiVue, from files beside the page or from data inside it. Nothing else is asked for.
(async () => {
  const element = id => document.getElementById(id);
  const scene = JSON.parse(element('scene').textContent);
  const message = text => { element('message').textContent = text; };

  const bytesOf = async name => {
    const inside = element(name);
    if (!inside) return (await fetch(name)).arrayBuffer();
    const text = atob(inside.textContent.trim());
    return Uint8Array.from(text, letter => letter.charCodeAt(0)).buffer;
  };

  // One row for each label; index 0 is the background. The mask holds these indices, not the labels' values.
  const hidden = new Set();
  const table = () => {
    const rows = [{ name: 'background', colour: [0, 0, 0] }, ...scene.labels];
    const column = n => rows.map(row => row.colour[n]);
    return {
      R: column(0), G: column(1), B: column(2),
      A: rows.map((_, n) => (n === 0 || hidden.has(n) ? 0 : 255)),
      I: rows.map((_, n) => n),
      labels: rows.map(row => row.name),
    };
  };

  const canvas = element('canvas');
  if (!canvas.getContext('webgl2')) {
    message('This browser has no WebGL 2, which the viewer draws with. Try another browser, or --preview.');
    return;
  }
  const nv = new niivue.Niivue({
    backColor: [0.07, 0.08, 0.09, 1], crosshairColor: [1, 0.8, 0.2, 0.8], isRadiologicalConvention: true,
    isNearestInterpolation: true, dragAndDropEnabled: false, logLevel: 'error',
    crosshairWidth: scene.flat ? 0 : 0.2, crosshairWidthUnit: 'percent', isOrientationTextVisible: !scene.flat,
  });
  await nv.attachToCanvas(canvas);
  const [low, high] = scene.window;
  const open = async (name, ...options) => niivue.NVImage.new(await bytesOf(name), name, ...options);
  nv.addVolume(await open(scene.image, 'gray', 1, null, low, high));
  nv.addVolume(await open(scene.mask, 'red', 0.5));
  const paint = () => { nv.volumes[1].setColormapLabel(table()); nv.updateGLVolume(); };
  paint();

  const views = scene.flat
    ? []
    : [['all', nv.sliceTypeMultiplanar], ['axial', nv.sliceTypeAxial], ['coronal', nv.sliceTypeCoronal],
       ['sagittal', nv.sliceTypeSagittal], ['3-D', nv.sliceTypeRender]];
  nv.setSliceType(scene.flat ? nv.sliceTypeAxial : nv.sliceTypeMultiplanar);
  for (const [name, type] of views) {
    const button = document.createElement('button');
    button.textContent = name;
    button.setAttribute('aria-pressed', String(name === 'all'));
    button.onclick = () => {
      nv.setSliceType(type);
      for (const other of element('views').children) other.setAttribute('aria-pressed', String(other === button));
    };
    element('views').append(button);
  }

  const goTo = millimetres => { nv.scene.crosshairPos = nv.mm2frac(millimetres); nv.drawScene(); };
  const rows = scene.instances ? scene.labels.slice(0, 1) : scene.labels; // instances have one row and many colours
  rows.forEach((label, n) => {
    const row = document.createElement('li');
    const box = Object.assign(document.createElement('input'), { type: 'checkbox', checked: true });
    box.setAttribute('aria-label', `show ${label.name}`);
    const indices = scene.instances ? scene.labels.map((_, m) => m + 1) : [n + 1];
    box.onchange = () => {
      for (const index of indices) box.checked ? hidden.delete(index) : hidden.add(index);
      paint();
    };
    const swatch = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    const square = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    for (const [key, value] of Object.entries({ width: '100%', height: '100%', rx: 3, fill: `rgb(${label.colour})` }))
      square.setAttribute(key, value);
    swatch.append(square);
    const name = Object.assign(document.createElement('button'), { textContent: label.name, title: 'go to it' });
    name.disabled = !label.place;
    name.onclick = () => goTo(label.place);
    const amount = Object.assign(document.createElement('span'), { className: 'amount', textContent: label.amount });
    row.append(box, swatch, name, amount);
    element('labels').append(row);
  });
  element('opacity').oninput = event => nv.setOpacity(1, Number(event.target.value) / 100);
  const start = scene.labels.find(label => label.place);
  if (start) goTo(start.place);
  window.viewer = nv;
  document.body.dataset.ready = 'yes';
})().catch(error => {
  document.getElementById('message').textContent = `The image cannot be shown: ${error.message}`;
  document.body.dataset.ready = 'no';
});
