// Opens the page of `medseg view`, served or exported, and tells what NiiVue holds and what the page says.

export async function run(page, { url, screenshot, hide }) {
  await page.goto(url, { waitUntil: 'load', timeout: 120000 });
  await page.waitForFunction(() => document.body.dataset.ready, null, { timeout: 120000 });
  await page.waitForTimeout(1500);
  const result = await page.evaluate(() => ({
    ready: document.body.dataset.ready,
    message: document.getElementById('message').textContent,
    title: document.title,
    rows: [...document.querySelectorAll('#labels li')].map(row => ({
      name: row.querySelector('button').textContent,
      amount: row.querySelector('.amount').textContent,
      colour: row.querySelector('rect').getAttribute('fill'),
    })),
    volumes: (window.viewer?.volumes ?? []).map(volume => ({
      dims: Array.from(volume.hdr.dims.slice(1, 4)),
      affine: volume.hdr.affine.map(row => Array.from(row)),
      values: Array.from(new Set(volume.img)).sort((a, b) => a - b).slice(0, 20),
      count: Array.from(volume.img).filter(value => value > 0).length,
      labels: volume.colormapLabel?.labels ?? null,
      lut: volume.colormapLabel ? Array.from(volume.colormapLabel.lut) : null,
    })),
    crosshair: window.viewer ? Array.from(window.viewer.frac2mm(window.viewer.scene.crosshairPos)).slice(0, 3) : null,
  }));
  await page.screenshot({ path: screenshot });
  if (hide) {
    await page.locator('#labels input').nth(hide - 1).uncheck();
    result.hidden = await page.evaluate(n => window.viewer.volumes[1].colormapLabel.lut[4 * n + 3], hide);
  }
  return result;
}
