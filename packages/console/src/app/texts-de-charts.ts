import type { CHART_TEXTS as EN } from './texts-en-charts.ts';

/** What is said about the charts of the overview, in German. */
export const CHART_TEXTS: typeof EN = {
  rate: 'Aktivitäten in der Sekunde',
  rateNow: (rate, most) => `Jetzt ${rate} in der Sekunde, höchstens ${most}, seit diese Seite geöffnet ist.`,
  rateSoon: 'Die ersten Werte kommen in einigen Sekunden.',
  signIns: 'Anmeldungen',
  failures: 'Fehlgeschlagene',
  signInSum: (signIns, failures) => `${signIns} Anmeldungen und ${failures} fehlgeschlagene.`,
  cut: (count) => `Mehr als ${count}: Nur die neuesten sind gezählt.`,
  span: 'Zeitraum',
  spans: { hour: 'Letzte Stunde', day: 'Letzte 24 Stunden', week: 'Letzte 7 Tage' },
  asTable: 'Als Tabelle',
  time: 'Zeit',
};
