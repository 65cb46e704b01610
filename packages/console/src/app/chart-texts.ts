import { language } from '../preferences.ts';

/** What is said about the charts, loaded with them. */
export const { CHART_TEXTS: chartTexts } =
  language === 'de' ? await import('./texts-de-charts.ts') : await import('./texts-en-charts.ts');
