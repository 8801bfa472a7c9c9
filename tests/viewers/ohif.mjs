// Opens a study in OHIF as a user would, loads its segmentation and tells what the viewer then holds and draws.

export async function run(page, { url, screenshot, slice }) {
  await page.goto(url, { waitUntil: 'domcontentloaded', timeout: 120000 });
  await page.waitForFunction(
    () => window.services?.displaySetService?.activeDisplaySets?.some(set => set.Modality === 'SEG'),
    null,
    { timeout: 180000 },
  );
  await page.getByText('Skip all').click({ timeout: 20000 }).catch(() => {}); // the tour of a first visit
  await page.evaluate(() => {
    const { displaySetService, viewportGridService, hangingProtocolService } = window.services;
    const seg = displaySetService.activeDisplaySets.find(set => set.Modality === 'SEG');
    const viewportId = viewportGridService.getActiveViewportId();
    viewportGridService.setDisplaySetsForViewports(
      hangingProtocolService.getViewportsRequireUpdate(viewportId, seg.displaySetInstanceUID),
    );
  });
  await page.getByRole('button', { name: 'Yes' }).click({ timeout: 60000 }); // "Do you want to open this Segmentation?"
  await page.waitForFunction(
    () => window.services.segmentationService.getSegmentations().length > 0,
    null,
    { timeout: 180000 },
  );
  await page.waitForTimeout(4000);
  await page.evaluate(index => {
    const { cornerstoneViewportService, viewportGridService } = window.services;
    cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId()).setImageIdIndex(index);
  }, slice);
  await page.waitForTimeout(3000);
  const result = await page.evaluate(() => {
    const { segmentationService, viewportGridService } = window.services;
    const { cache, metaData } = window.cornerstone;
    const viewportId = viewportGridService.getActiveViewportId();
    const base64 = values => {
      let text = '';
      for (const value of values) text += String.fromCharCode(value & 255);
      return btoa(text);
    };
    return segmentationService.getSegmentations().map(segmentation => ({
      label: segmentation.label,
      segments: Object.values(segmentation.segments)
        .filter(segment => segment.segmentIndex > 0)
        .map(({ segmentIndex, label }) => ({
          number: segmentIndex,
          label,
          colour: Array.from(
            segmentationService.getSegmentColor(viewportId, segmentation.segmentationId, segmentIndex),
          ).slice(0, 3),
        })),
      slices: segmentation.representationData.Labelmap.imageIds.map(id => {
        const image = cache.getImage(id);
        const plane = metaData.get('imagePlaneModule', image.referencedImageId);
        return {
          instance: image.referencedImageId.match(/instances\/([0-9.]+)/)[1],
          position: plane.imagePositionPatient,
          pixels: base64(image.voxelManager.getScalarData()),
        };
      }),
    }));
  });
  await page.screenshot({ path: screenshot });
  return result;
}
