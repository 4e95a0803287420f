// The live page: takes the server's pictures and charts, and writes them into the page. Text only, never markup.
"use strict";

(() => {
  const SILENT_AFTER_MS = 10000; // no event for so long: say that the connection is lost
  const REOPEN_AFTER_MS = 5000; // the browser gave up (an answer that was no stream): try again
  const STILL_AFTER_S = 30; // no new reading for so long, wall clock: say so

  const main = document.getElementById("main");
  const words = JSON.parse(main.dataset.words);
  const english = document.documentElement.lang === "en";
  const t = (fr, en) => (english ? en : fr);
  const locale = english ? "en-GB" : "fr-FR";
  const STATUS = {
    ok: "✓ normal", low: t("▼ trop bas", "▼ too low"), high: t("▲ trop haut", "▲ too high"),
    suspect: t("? douteux", "? suspect"), stale: t("… muet", "… silent"), idle: t("hors étape", "other step"), stopped: t("à l’arrêt", "idle"),
    none: t("sans mesure", "no reading"), plain: t("mesuré", "measured"),
  };
  const VERDICT = {
    pass: t("conforme", "pass"), conditional_pass: t("conforme sous réserve", "conditional pass"),
    conditional_fail: t("non conforme sous réserve", "conditional fail"), fail: t("non conforme", "fail"), hold: t("bloqué", "hold"),
  };
  const clock = new Intl.DateTimeFormat(locale, {
    timeZone: main.dataset.zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  const hour = new Intl.DateTimeFormat(locale, { timeZone: main.dataset.zone, hour: "2-digit", minute: "2-digit" });

  const byId = (id) => document.getElementById(id);
  const number = (value, places) =>
    value.toLocaleString(locale, { minimumFractionDigits: places, maximumFractionDigits: places });
  const shortest = (value) => value.toLocaleString(locale, { maximumFractionDigits: 4 });
  const set = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const lang = (label) => (english ? label.en : label.fr);

  function age(seconds) {
    if (seconds === null || seconds === undefined) return "—";
    if (seconds < 90) return `${number(seconds, seconds < 10 ? 1 : 0)} s`;
    if (seconds < 5400) return `${number(seconds / 60, 0)} min`;
    return `${number(seconds / 3600, 1)} h`;
  }

  // ---- the picture: states, values, last lots

  let lines = new Map(); // path → line of the last picture
  let heard = performance.now();

  function picture(state) {
    set(byId("newest"), state.newest ? clock.format(new Date(state.newest)) : t("aucune", "none"));
    set(byId("lag"), state.lag === null ? "—" : number(state.lag, 0));
    set(byId("quarantined"), state.quarantined === null ? "—" : number(state.quarantined, 0));
    alertOf(state);
    lines = new Map(state.lines.map((line) => [line.line, line]));
    for (const line of state.lines) showLine(line);
    showFinished(state.finished);
  }

  function alertOf(state) {
    const still = state.still_s !== undefined && state.still_s > STILL_AFTER_S && state.newest;
    const text = state.problem ? `${t("Base de données : ", "Store: ")}${state.problem}`
      : state.recorder ? recorderText(state.recorder)
      : still ? t(`Aucune nouvelle mesure depuis ${age(state.still_s)}.`, `No new reading for ${age(state.still_s)}.`) : "";
    const box = byId("alert");
    box.hidden = text === "";
    set(box, text);
  }

  function recorderText(recorder) {
    if (recorder.state === "absent") return t("L’enregistreur ne tourne pas : ce qui est montré n’avance pas.", "The recorder is not running: what is shown does not move on.");
    return `${t("L’enregistreur attend la base de données ; rien n’est perdu.", "The recorder waits for the store; nothing is lost.")} ${recorder.detail}`;
  }

  function showLine(line) {
    const section = document.querySelector(`[data-line="${CSS.escape(line.line)}"]`);
    if (!section) return;
    const part = (name) => section.querySelector(`[data-part="${name}"]`);
    const running = line.state === "running";
    set(part("state"), running ? t("▶ en production", "▶ running") : t("■ à l’arrêt", "■ idle"));
    part("state").classList.toggle("running", running);
    set(part("age"), line.age_s === null ? t("aucune mesure", "no reading") : `${t("retard des données :", "data age:")} ${age(line.age_s)}`);
    set(part("batch"), line.run ? line.run.batch : "—");
    set(part("step"), line.run ? lang(line.run.step_name) : "—");
    set(part("recipe"), line.run ? lang(line.run.recipe_name) : "—");
    set(part("run"), line.run ? line.run.id : "—");
    for (const signal of line.signals) showTile(section, words[line.line][signal.key], signal, running);
  }

  function showTile(section, word, signal, running) {
    const tile = section.querySelector(`[data-signal="${CSS.escape(signal.key)}"]`);
    if (!tile || !word) return;
    const limited = signal.low !== null || signal.high !== null;
    tile.className = `tile ${signal.status === "ok" && !limited ? "plain" : signal.status}`;
    set(tile.querySelector(".value"), signal.value === null ? "—" : number(signal.value * word.scale, word.places));
    const status = signal.status === "ok" && !limited ? "plain" : signal.status === "idle" && !running ? "stopped" : signal.status;
    set(tile.querySelector(".word"), STATUS[status] + (signal.status === "stale" ? ` ${age(signal.age_s)}` : ""));
    set(tile.querySelector(".limits"), limited ? limitText(signal, word.scale) : "");
  }

  function limitText(signal, scale) {
    if (signal.low === null) return `≤ ${shortest(signal.high * scale)}`;
    if (signal.high === null) return `≥ ${shortest(signal.low * scale)}`;
    return `${shortest(signal.low * scale)} – ${shortest(signal.high * scale)}`;
  }

  function showFinished(lots) {
    const list = document.querySelector('[data-part="finished"]');
    const key = JSON.stringify(lots);
    if (list.dataset.shown === key) return;
    list.dataset.shown = key;
    list.replaceChildren(...(lots.length ? lots.map(finished) : [element("li", "note", t("aucun encore", "none yet"))]));
  }

  function finished(lot) {
    const item = element("li");
    const link = element("a", "mono", lot.batch);
    link.href = `/batches/${encodeURIComponent(lot.batch)}/certificate${english ? "?lang=en" : ""}`;
    const content = lot.recycled_content === undefined ? "" : ` · ${t("recyclé", "recycled")} ${percent(lot)}`;
    const certificate = lot.certificate === "issued" ? `✓ ${VERDICT[lot.verdict] || ""}`
      : lot.certificate === "refused" ? t("✗ certificat refusé", "✗ certificate refused") : t("… certificat attendu", "… certificate awaited");
    item.append(link, element("span", "", lang(lot.name)), element("span", "", `${number(Number(lot.mass_kg), 1)} kg${content}`), element("span", "note", certificate));
    return item;
  }

  const percent = (lot) => {
    const u95 = Number(lot.u95) * 100;
    const places = u95 > 0 ? Math.max(0, Math.min(2, 1 - Math.floor(Math.log10(u95)))) : 1;
    return `${number(Number(lot.recycled_content) * 100, places)} ± ${number(u95, places)} %`;
  };

  function element(name, className = "", text = "") {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  // ---- the charts

  const plots = new Map(); // place in the page → {shape, plot}

  function charts(drawing) {
    for (const line of drawing.lines) {
      const section = document.querySelector(`[data-line="${CSS.escape(line.line)}"]`);
      if (!section) continue;
      const places = section.querySelectorAll(".plot");
      places.forEach((place, index) => draw(place, line, line.charts[index]));
    }
  }

  function draw(place, line, chart) {
    place.hidden = !chart;
    if (!chart) return;
    const known = words[line.line];
    const times = line.time_ms;
    const first = known[chart.keys[0]];
    const lead = leadOf(line.line, chart.keys);
    const limits = lead ? [lead.low, lead.high].filter((limit) => limit !== null) : [];
    const shape = JSON.stringify([line.line, chart.keys, limits.length]);
    const data = [times.map((time) => time / 1000)];
    chart.values.forEach((values) => data.push(values.map((value) => (value === null ? null : value * first.scale))));
    limits.forEach((limit) => data.push(times.map(() => limit * first.scale)));
    const shown = plots.get(place);
    if (shown && shown.shape === shape) { shown.plot.setData(data); return; }
    if (shown) shown.plot.destroy();
    place.classList.toggle("wide", chart.keys.length > 2);
    set(place.querySelector("h3"), `${chart.keys.length === 1 ? first.name : first.device}${first.unit ? ` (${first.unit})` : ""}`);
    place.querySelector(".keys").replaceChildren(...legend(known, chart, lead, limits));
    plots.set(place, { shape, plot: plot(place, known, chart, limits, data) });
  }

  // The last signal of the chart that has limits: its limits are drawn.
  function leadOf(path, keys) {
    const line = lines.get(path);
    const limited = line ? line.signals.filter((s) => keys.includes(s.key) && (s.low !== null || s.high !== null)) : [];
    return limited.length ? limited[limited.length - 1] : null;
  }

  function legend(known, chart, lead, limits) {
    const entry = (className, text) => { const item = element("li"); item.append(element("i", className), text); return item; };
    const single = chart.keys.length === 1; // the title says which
    const keys = single ? [] : chart.keys.map((key, index) => entry(`key-${index % 6}`, known[key].name));
    if (limits.length && lead) keys.push(entry("dashed key-limit", single ? t("limites", "limits") : t(`limites : ${known[lead.key].name}`, `limits: ${known[lead.key].name}`)));
    return keys;
  }

  function colourOf(className) {
    const probe = element("i", className);
    main.append(probe);
    const colour = getComputedStyle(probe).borderTopColor;
    probe.remove();
    return colour;
  }

  function plot(place, known, chart, limits, data) {
    const canvas = place.querySelector(".canvas");
    const style = getComputedStyle(document.documentElement);
    const axis = { stroke: style.getPropertyValue("--soft"), grid: { stroke: style.getPropertyValue("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const step = data[0].length > 1 ? data[0][1] - data[0][0] : 0;
    const series = chart.keys.map((key, index) => ({
      label: known[key].name, stroke: colourOf(`key-${index % 6}`), width: 1.5, points: { show: false },
      spanGaps: known[key].period_s > step, // a slow signal leaves buckets empty: that is no gap
    }));
    const limitSeries = limits.map(() => ({ stroke: colourOf("key-limit"), width: 1.2, dash: [6, 4], points: { show: false } }));
    return new uPlot({
      width: canvas.clientWidth || 300, height: canvas.clientHeight || 128, padding: [8, 8, 0, 0], legend: { show: false }, cursor: { show: false },
      scales: { x: { time: true } },
      axes: [
        { ...axis, size: 22, values: (_plot, ticks) => ticks.map((tick) => hour.format(new Date(tick * 1000))) },
        { ...axis, size: 46, values: (_plot, ticks) => ticks.map((tick) => shortest(tick)) },
      ],
      series: [{}, ...series, ...limitSeries],
    }, data, canvas);
  }

  const resized = new ResizeObserver(() => {
    for (const [place, shown] of plots) {
      const { clientWidth: width, clientHeight: height } = place.querySelector(".canvas");
      if (width > 0 && (width !== shown.plot.width || height !== shown.plot.height)) shown.plot.setSize({ width, height });
    }
  });
  resized.observe(main);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const shown of plots.values()) shown.plot.destroy();
    plots.clear();
  });

  // ---- the stream

  function connection(well) {
    set(byId("connection"), well ? t("✓ en direct", "✓ live") : t("✗ perdue, nouvel essai…", "✗ lost, trying again…"));
  }

  function open() {
    const source = new EventSource("/live/events");
    source.addEventListener("picture", (event) => { heard = performance.now(); connection(true); picture(JSON.parse(event.data)); });
    source.addEventListener("charts", (event) => { heard = performance.now(); charts(JSON.parse(event.data)); });
    source.addEventListener("error", () => {
      connection(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(open, REOPEN_AFTER_MS);
    });
  }

  setInterval(() => { if (performance.now() - heard > SILENT_AFTER_MS) connection(false); }, 1000);
  open();
})();
