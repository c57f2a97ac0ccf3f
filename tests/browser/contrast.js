// What stands out too little: texts of less than 4.5 against what is behind them, marks in charts and edges of controls of
// less than 3. Grid lines, bands, and the shades of the confusion matrix say nothing alone.
() => {
  const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below, opacity = 1) => below.map((of, i) => (i === 3 ? 1 : of + (top[i] - of) * top[3] * opacity));
  const behind = (one) => {
    const found = [];
    for (let at = one; at; at = at.parentElement) found.push(rgba(getComputedStyle(at).backgroundColor));
    return found.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((of) => of / 255).map((of) => (of <= 0.03928 ? of / 12.92 : ((of + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const rule = String(rgba(getComputedStyle(document.documentElement).getPropertyValue('--rule')));
  const opacity = (one, kind) => {
    let product = Number(getComputedStyle(one)[kind]);
    for (let at = one; at && at.tagName !== 'svg'; at = at.parentElement) product *= Number(getComputedStyle(at).opacity);
    return product;
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const one = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || one.closest('script, style, noscript, title, .skip, option') || !one.checkVisibility()) continue;
    const style = getComputedStyle(one), inChart = one.closest('svg');
    const ink = over(rgba(inChart ? style.fill : style.color), behind(one), inChart ? opacity(one, 'fillOpacity') : 1);
    const ratio = contrast(ink, behind(one));
    if (ratio < 4.5) found.push(['text', texts.currentNode.textContent.slice(0, 40), ratio.toFixed(2)]);
  }
  for (const one of document.querySelectorAll('svg :is(path, circle, line, rect)')) {
    if (!one.checkVisibility() || one.closest('[aria-label^="Confusion"], defs, clipPath')) continue;
    const style = getComputedStyle(one), paper = behind(one);
    const inks = [['fill', 'fillOpacity'], ['stroke', 'strokeOpacity']].filter(([of]) => style[of] !== 'none' && rgba(style[of])[3]);
    if (!inks.length || inks.some(([of]) => String(rgba(style[of])) === rule)) continue;
    if (inks.every(([, of]) => opacity(one, of) <= 0.1)) continue; // a band
    const ratio = Math.max(...inks.map(([of, kind]) => contrast(over(rgba(style[of]), paper, opacity(one, kind)), paper)));
    if (ratio < 3) found.push([one.tagName, one.closest('figure, ul')?.textContent.slice(0, 40), ratio.toFixed(2)]);
  }
  for (const one of document.querySelectorAll('input:not([type=radio]), select, button:not(.link, thead button), .choices label, .menu > summary')) {
    if (!one.checkVisibility() || one.type === 'checkbox') continue;
    const ratio = contrast(rgba(getComputedStyle(one).borderTopColor), behind(one.parentElement));
    if (ratio < 3) found.push(['edge', one.id || one.textContent, ratio.toFixed(2)]);
  }
  return found;
}
