// The live page: takes the server's pictures and charts, and writes them into the page. Text only, never markup.
"use strict";

(() => {
  const SILENT_AFTER_MS = 10000; // no event for so long: say that the connection is lost
  const REOPEN_AFTER_MS = 5000; // the browser gave up (an answer that was no stream): try again
  const TROUBLES_MAX = 2; // told in full on a line; the rest is counted, and its tiles are red
  const STEPS_SHOWN_MIN = 20; // a chart is at least so many steps of its signal high: the last digit is no mountain

  const main = document.getElementById("main");
  const words = JSON.parse(main.dataset.words);
  const english = document.documentElement.lang === "en";
  const t = (fr, en) => (english ? en : fr);
  const locale = english ? "en-GB" : "fr-FR";
  const STATUS = {
    ok: "✓ normal", low: t("▼ trop bas", "▼ too low"), high: t("▲ trop haut", "▲ too high"),
    suspect: t("? douteux", "? suspect"), stale: t("… muet", "… silent"), idle: "", earlier: t("lot précédent", "earlier batch"), stopped: t("à l’arrêt", "idle"),
    none: t("pas de mesure", "no reading"), plain: t("sans limite", "no limit"),
  };
  const TROUBLE_ORDER = ["high", "low", "stale", "suspect"];
  const SIGN = { pass: "✓", conditional_pass: "!", conditional_fail: "✗", fail: "✗", hold: "✗" };
  const VERDICT = {
    pass: t("conforme", "pass"), conditional_pass: t("conforme sous réserve", "conditional pass"),
    conditional_fail: t("non conforme sous réserve", "conditional fail"), fail: t("non conforme", "fail"), hold: t("bloqué", "hold"),
  };
  const clock = new Intl.DateTimeFormat(locale, {
    timeZone: main.dataset.zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  const hour = new Intl.DateTimeFormat(locale, { timeZone: main.dataset.zone, hour: "2-digit", minute: "2-digit" });

  const byId = (id) => document.getElementById(id);
  const reading = (word, value) => (word.is_switch ? (value ? t("oui", "yes") : t("non", "no")) : number(value * word.scale, word.places));
  const number = (value, places) =>
    value.toLocaleString(locale, { minimumFractionDigits: places, maximumFractionDigits: places });
  const shortest = (value) => value.toLocaleString(locale, { maximumFractionDigits: 4 });
  const set = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const unit = (sign) => (sign ? `\u00a0${sign}` : "");
  const lang = (label) => (english ? label.en : label.fr);

  function age(seconds) {
    if (seconds === null || seconds === undefined) return "—";
    if (seconds < 90) return `${number(seconds, 0)}\u00a0s`;
    if (seconds < 5400) return `${number(seconds / 60, 0)}\u00a0min`;
    return seconds < 172800 ? `${number(seconds / 3600, 0)}\u00a0h` : `${number(seconds / 86400, 0)}\u00a0${t("j", "d")}`;
  }

  // ---- the picture: states, values, last lots

  let lines = new Map(); // path → line of the last picture
  let heard = performance.now();

  let last = null; // the last picture

  function picture(state) {
    last = state;
    if (state.newest) set(byId("newest"), clock.format(new Date(state.newest)));
    else if (!state.problem) set(byId("newest"), t("aucune", "none"));
    set(byId("lag"), state.lag === null ? "—" : number(state.lag, 0));
    set(byId("quarantined"), state.quarantined === null ? "—" : number(state.quarantined, 0));
    byId("quarantined").parentElement.classList.toggle("warned", state.quarantined > 0);
    if (state.lines.length) lines = new Map(state.lines.map((line) => [line.line, line]));
    showAlerts();
    for (const line of state.lines) showLine(line, state.finished);
    if (!state.problem) showFinished(state.finished);
  }

  // ---- what concerns all lines: what is wrong, what it means, what to do

  let lost = null; // when the connection was lost, ms since 1970

  function showAlerts() {
    const alerts = lost ? [lostAlert()] : last ? alertsOf(last) : [];
    main.classList.toggle("frozen", alerts.some((alert) => alert.frozen));
    const box = byId("alerts");
    const key = JSON.stringify(alerts);
    if (box.dataset.shown === key) return;
    box.dataset.shown = key;
    box.replaceChildren(...alerts.map((alert) => {
      const item = element("p", alert.warns ? "alert warning" : "alert");
      item.append(element("strong", "", alert.what), element("span", "", alert.todo));
      if (alert.detail) item.append(element("span", "note mono", alert.detail));
      return item;
    }));
  }

  function lostAlert() {
    const since = hour.format(new Date(lost));
    return { frozen: true,
      what: t(`✗ Écran coupé du serveur depuis ${since}.`, `✗ Screen cut off from the server since ${since}.`),
      todo: t("Les valeurs affichées sont anciennes. Vérifier le réseau de l’écran et le serveur ; l’affichage revient tout seul.", "The values shown are old. Check the network of this screen and the server; the picture comes back by itself.") };
  }

  function alertsOf(state) {
    // What has one cause is told once: a database that both miss, a collector that is gone, a disk that takes nothing.
    const gone = (part) => part && (part.state === "silent" || part.state === "absent");
    const { intake, receipts, recorder } = state;
    const found = [];
    if (state.problem && !(recorder && recorder.state === "waiting")) found.push(problemAlert(state.problem));
    if (recorder && !(gone(recorder) && intake && !gone(intake))) found.push(recorderAlert(recorder));
    if (intake && !(gone(intake) && gone(recorder))) found.push(intakeAlert(intake));
    if (receipts && !intake && !gone(recorder)) found.push(receiptsAlert(receipts));
    const still = Math.min(...state.lines.map((line) => line.still_s));
    if (!found.length && state.lines.length && state.lines.every((line) => line.mute)) {
      found.push({ frozen: true,
        what: t(`✗ Plus aucune mesure depuis ${age(still)}.`, `✗ No reading at all for ${age(still)}.`),
        todo: t("Les valeurs affichées sont anciennes. Vérifier le réseau de l’atelier ; s’il marche, prévenir la maintenance : courtier MQTT arrêté ?", "The values shown are old. Check the network of the workshop; if it works, tell maintenance: has the MQTT broker stopped?") });
    }
    if (state.refused) found.push(refusedAlert(state));
    return found;
  }

  const READ_OUT = t("Prévenir la maintenance et lui lire ceci :", "Tell maintenance, and read them this:");
  const problemAlert = (detail) => ({ frozen: true, detail,
    what: t("✗ La base de données ne répond pas.", "✗ The database does not answer."),
    todo: t("Les valeurs affichées sont anciennes. ", "The values shown are old. ") + READ_OUT });

  function recorderAlert(recorder) {
    if (recorder.state === "waiting") {
      return { frozen: true, detail: recorder.detail,
        what: t("✗ L’enregistrement attend la base des mesures.", "✗ The recorder waits for the database."),
        todo: t("Rien n’est perdu, mais les valeurs affichées sont anciennes. ", "Nothing is lost, but the values shown are old. ") + READ_OUT };
    }
    return { frozen: true, detail: recorder.detail,
      what: t("✗ L’enregistrement des mesures est arrêté.", "✗ The recorder has stopped."),
      todo: t("Les valeurs affichées sont anciennes. Prévenir la maintenance : relancer « filiere collect ».", "The values shown are old. Tell maintenance: start “filiere collect” again.") };
  }

  function intakeAlert(intake) {
    const since = intake.since_s === null ? "" : t(` depuis ${age(intake.since_s)}`, ` for ${age(intake.since_s)}`);
    const wait = t("Les mesures attendent dans les appareils et au courtier ; les valeurs affichées sont anciennes. ", "Readings wait in the devices and at the broker; the values shown are old. ");
    if (intake.state === "problem" || intake.state === "disconnected") {
      return { frozen: true, detail: intake.detail,
        what: t(`✗ Plus rien n’est accepté${since}.`, `✗ Nothing is accepted any more${since}.`),
        todo: wait + READ_OUT };
    }
    return { frozen: true, detail: intake.detail,
      what: t(`✗ La réception des mesures est arrêtée${since}.`, `✗ Reception has stopped${since}.`),
      todo: wait + t("Prévenir la maintenance : relancer « filiere collect ».", "Tell maintenance: start “filiere collect” again.") };
  }

  function receiptsAlert(receipts) {
    const since = receipts.since_s === null ? "" : t(` depuis ${age(receipts.since_s)}`, ` for ${age(receipts.since_s)}`);
    const fills = t("Rien n’est perdu et la production peut continuer, mais les appareils gardent tout et se remplissent. ", "Nothing is lost and production may go on, but the devices keep everything and fill up. ");
    const stopped = receipts.state === "silent" || receipts.state === "absent";
    return { warns: true, detail: receipts.detail,
      what: t(`! Les appareils ne reçoivent plus de réponse${since}.`, `! Devices get no answer any more${since}.`),
      todo: fills + (stopped ? t("Prévenir la maintenance : relancer « filiere collect ».", "Tell maintenance: start “filiere collect” again.") : READ_OUT) };
  }

  function refusedAlert(state) {
    const count = state.quarantined;
    const when = hour.format(new Date(state.refused.time));
    const where = lang(state.refused.where);
    return { warns: true,
      what: count === 1 ? t("! 1 message refusé, gardé à part.", "! 1 message refused, set aside.") : t(`! ${number(count, 0)} messages refusés, gardés à part.`, `! ${number(count, 0)} messages refused, set aside.`),
      todo: t(`${where}, ${when}. La production peut continuer. Prévenir la maintenance : « filiere quarantine » dit pourquoi.`, `${where}, ${when}. Production may go on. Tell maintenance: “filiere quarantine” says why.`) };
  }

  // ---- a line

  function showLine(line, finishedLots) {
    const section = document.querySelector(`[data-line="${CSS.escape(line.line)}"]`);
    if (!section) return;
    const part = (name) => section.querySelector(`[data-part="${name}"]`);
    const running = line.state === "running";
    set(part("state"), running ? t("▶ en production", "▶ running") : t("■ à l’arrêt", "■ idle"));
    part("state").classList.toggle("running", running);
    set(part("age"), line.newest === null ? t("aucune mesure", "no reading") : line.still_s < 3 ? t("mesures à jour", "readings up to date")
      : t(`dernière mesure il y a ${age(line.still_s)}`, `last reading ${age(line.still_s)} ago`));
    part("age").classList.toggle("late", line.mute);
    const mute = line.mute && !main.classList.contains("frozen"); // what stops all lines is told once, above
    section.classList.toggle("mute", mute);
    const before = running ? null : finishedLots.find((lot) => lot.line === line.line);
    set(part("batch-word"), running ? t("Lot en cours", "Batch under way") : t("Dernier lot fini", "Last finished batch"));
    set(part("batch"), running ? line.run.batch : before ? before.batch : "—");
    part("now").classList.toggle("idle", !running);
    set(part("step"), running ? lang(line.run.step_name) : "—");
    set(part("recipe"), running ? lang(line.run.recipe_name) : "—");
    set(part("since"), running ? hour.format(new Date(line.run.start)) : "—");
    showTroubles(section, part("troubles"), line, { running, mute });
    for (const signal of line.signals) showTile(section, words[line.line][signal.key], signal, line.run);
    const elsewhere = running && line.signals.some((signal) => signal.status === "idle");
    section.querySelector(".tiles").toggleAttribute("data-idle", elsewhere);
    if (elsewhere) section.querySelector(".tiles").dataset.idle = t("Hors de l’étape en cours", "Not of the step under way");
  }

  // What is wrong on the line, the worst first, each with what to do; or that nothing is.
  function showTroubles(section, list, line, { running, mute }) {
    const order = (signal) => TROUBLE_ORDER.indexOf(signal.status) - (signal.critical ? TROUBLE_ORDER.length : 0);
    const dead = deadMachines(line.signals);
    const once = (signal) => !dead.has(machineOf(signal)) || dead.get(machineOf(signal)) === signal;
    const wrong = line.signals.filter((signal) => TROUBLE_ORDER.includes(signal.status)).sort((a, b) => order(a) - order(b)).filter(once);
    const text = (signal) => (dead.has(machineOf(signal)) ? machineText : troubleText)(words[line.line][signal.key], signal);
    const told = mute ? [muteText(line)] : wrong.slice(0, TROUBLES_MAX).map(text);
    const more = mute ? 0 : wrong.length - told.length;
    if (more > 0) told.push({ className: "more", what: more === 1 ? t("et 1 autre", "and 1 more") : t(`et ${more} autres`, `and ${more} more`), todo: "" });
    const beyond = wrong.some((signal) => signal.status === "high" || signal.status === "low");
    section.classList.toggle("trouble", running && (mute || beyond));
    if (!told.length && running) told.push({ className: "fine", what: t("✓ Tout est dans les limites", "✓ Everything is within its limits"), todo: "" });
    const key = JSON.stringify(told);
    if (list.dataset.shown === key) return;
    list.dataset.shown = key;
    list.replaceChildren(...told.map((trouble) => {
      const item = element("li", trouble.className);
      item.append(element("strong", "", trouble.what), element("span", "", trouble.todo));
      return item;
    }));
  }

  // A machine of which nothing comes any more is told once, not sensor by sensor: it → its first signal, critical or not.
  function deadMachines(signals) {
    const groups = new Map();
    for (const signal of signals) groups.set(machineOf(signal), [...(groups.get(machineOf(signal)) || []), signal]);
    const dead = [...groups].filter(([, own]) => own.length > 1 && own.every((signal) => signal.status === "stale"));
    return new Map(dead.map(([machine, own]) => [machine, own.find((signal) => signal.critical) || own[0]]));
  }

  const machineOf = (signal) => signal.key.split(".")[0];
  const machineText = (word, signal) => ({ className: "warn",
    what: `${STATUS.stale.toUpperCase()} · ${word.device}`,
    todo: t(`plus aucune mesure de cette machine depuis ${age(signal.age_s)} : vérifier son automate et son réseau`, `no reading from this machine for ${age(signal.age_s)}: check its controller and its network`) });

  const muteText = (line) => ({ className: "bad",
    what: t("… Ligne muette", "… Line silent"),
    todo: t(`plus de mesure depuis ${age(line.still_s)} : vérifier l’automate et le réseau de la ligne`, `no reading for ${age(line.still_s)}: check the line’s controller and its network`) });

  function troubleText(word, signal) {
    const shown = (value) => `${shortest(value * word.scale)}${unit(word.unit)}`;
    const value = `${reading(word, signal.value)}${unit(word.unit)}`;
    const name = `${word.name} : ${value}`.replace(" : ", t(" : ", ": "));
    const status = STATUS[signal.status].toUpperCase();
    if (word.by_hand && (signal.status === "high" || signal.status === "low")) return { className: "bad", what: `${status} · ${name}`, todo: t(`limite ${limitText(signal, word.scale)} : mettre ce lot de côté et refaire un prélèvement`, `limit ${limitText(signal, word.scale)}: set this batch aside and take another sample`) };
    if (signal.status === "high") return { className: "bad", what: `${status} · ${name}`, todo: t(`ramener sous ${shown(signal.high)}`, `bring it below ${shown(signal.high)}`) };
    if (signal.status === "low") return { className: "bad", what: `${status} · ${name}`, todo: t(`ramener au-dessus de ${shown(signal.low)}`, `bring it above ${shown(signal.low)}`) };
    if (signal.status === "stale") return { className: "warn", what: `${status} · ${word.name}`, todo: t(`plus de mesure depuis ${age(signal.age_s)} : vérifier le capteur et son câble`, `no reading for ${age(signal.age_s)}: check the sensor and its cable`) };
    return { className: "warn", what: `${status} · ${name}`, todo: t("vérifier le capteur", "check the sensor") };
  }

  function showTile(section, word, signal, run) {
    const tile = section.querySelector(`[data-signal="${CSS.escape(signal.key)}"]`);
    if (!tile || !word) return;
    const limited = signal.low !== null || signal.high !== null;
    set(tile.querySelector(".value"), signal.value === null ? "—" : reading(word, signal.value));
    const earlier = run && word.by_hand && signal.time !== null && Date.parse(signal.time) < Date.parse(run.start);
    const notJudged = !run ? "stopped" : earlier ? "earlier" : "idle";
    const status = signal.status === "ok" && !limited ? "plain" : signal.status === "idle" ? notJudged : signal.status;
    tile.className = `tile ${status === "stopped" ? "idle" : status === "earlier" ? "idle earlier" : status}`;
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
    const state = lot.certificate === "issued" ? lot.verdict || "" : lot.certificate;
    const certificate = lot.certificate === "issued" ? `${SIGN[lot.verdict] || ""} ${VERDICT[lot.verdict] || ""}`
      : lot.certificate === "refused" ? t("✗ certificat refusé", "✗ certificate refused") : t("… certificat attendu", "… certificate awaited");
    const content = contentOf(lot);
    item.append(link, element("span", "", lang(lot.name)), element("span", "", `${number(Number(lot.mass_kg), 1)}\u00a0kg${content && ` · ${content}`}`), element("span", `verdict-word ${state}`, certificate));
    return item;
  }

  // What a buyer asks for: recycled content; of a material with none, what grew.
  function contentOf(lot) {
    if (lot.recycled_content === undefined) return "";
    const recycled = Number(lot.recycled_content), grown = Number(lot.bio_based);
    if (recycled === 0 && grown > 0) return `${t("biosourcé", "bio-based")} ${number(grown * 100, 1)}\u00a0%`;
    const u95 = Number(lot.u95) * 100;
    const places = u95 > 0 ? Math.max(0, Math.min(2, 1 - Math.floor(Math.log10(u95)))) : 1;
    const spread = u95 > 0 ? ` ± ${number(u95, places)}` : "";
    return `${t("recyclé", "recycled")} ${number(recycled * 100, places)}${spread}\u00a0%`;
  }

  function element(name, className = "", text = "") {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  // ---- the charts

  const wall = matchMedia("(min-width: 90rem)");
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
    plots.set(place, { shape, plot: plot(place, known, chart, { lead, limits }, data) });
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
    const word = limits.length > 1 ? t("limites", "limits") : t("limite", "limit");
    if (limits.length && lead) keys.push(entry(`dashed ${limitKey(chart, lead)}`, single ? word : `${word}${t(" : ", ": ")}${known[lead.key].name}`));
    return keys;
  }

  // Among several curves, limits have the colour of the one that they hold for: the others may well lie beyond.
  const limitKey = (chart, lead) => (chart.keys.length === 1 ? "key-limit" : `key-${chart.keys.indexOf(lead.key) % 6}`);

  // From the lowest to the highest, with some room, and never so close that the last digit fills the chart. What the
  // sensor cannot mean, such as 65532 bar, leaves the chart at its edge and does not flatten the rest.
  function rangeOf(least, [lowest, highest]) {
    return (drawn) => {
      const meant = drawn.data.slice(1).flatMap((values) => values.filter((value) => value !== null && value >= lowest && value <= highest));
      if (!meant.length) return [0, 1];
      const low = Math.min(...meant), high = Math.max(...meant);
      const short = Math.max(0, least - (high - low)) / 2;
      const bottom = low >= 0 ? Math.max(0, low - short) : low - short;
      return uPlot.rangeNum(bottom, Math.max(high + short, bottom + least), 0.1, true);
    };
  }

  function colourOf(className) {
    const probe = element("i", className);
    main.append(probe);
    const colour = getComputedStyle(probe).borderTopColor;
    probe.remove();
    return colour;
  }

  function plot(place, known, chart, { lead, limits }, data) {
    const canvas = place.querySelector(".canvas");
    const style = getComputedStyle(document.documentElement);
    const axis = { stroke: style.getPropertyValue("--soft"), grid: { stroke: style.getPropertyValue("--line"), width: 1 }, ticks: { show: false }, font: `${wall.matches ? 14 : 12}px system-ui, sans-serif` };
    const step = data[0].length > 1 ? data[0][1] - data[0][0] : 0;
    const series = chart.keys.map((key, index) => ({
      label: known[key].name, stroke: colourOf(`key-${index % 6}`), width: lead && lead.key === key && chart.keys.length > 1 ? 2.5 : 1.5, points: { show: false },
      spanGaps: known[key].period_s > step, // a slow signal leaves buckets empty: that is no gap
    }));
    const limitSeries = limits.map(() => ({ stroke: colourOf(limitKey(chart, lead)), width: 1.5, dash: [7, 5], points: { show: false } }));
    return new uPlot({
      width: canvas.clientWidth || 300, height: canvas.clientHeight || 128, padding: [8, 20, 0, 0], legend: { show: false }, cursor: { show: false },
      scales: { x: { time: true }, y: { range: rangeOf(STEPS_SHOWN_MIN * 10 ** -known[chart.keys[0]].places, known[chart.keys[0]].range) } },
      axes: [
        { ...axis, size: wall.matches ? 26 : 22, values: (_plot, ticks) => ticks.map((tick) => hour.format(new Date(tick * 1000))) },
        { ...axis, space: 24, size: wall.matches ? 52 : 46, values: (_plot, ticks) => ticks.map((tick) => shortest(tick)) },
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
  document.querySelectorAll(".plot .canvas").forEach((canvas) => resized.observe(canvas));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const shown of plots.values()) shown.plot.destroy();
    plots.clear();
  });

  // ---- the stream

  function connection(well) {
    set(byId("connection"), well ? t("✓ en direct", "✓ live") : t("✗ perdue, nouvel essai…", "✗ lost, trying again…"));
    lost = well ? null : lost || Date.now();
    if (!well) showAlerts(); // where it is well, the picture does
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
