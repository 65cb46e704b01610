/** What is said about the charts of the overview, in English. */
export const CHART_TEXTS = {
  rate: 'Activities per second',
  rateNow: (rate: string, most: string) => `${rate} per second now, ${most} at the most since this page was opened.`,
  rateSoon: 'The first values come in some seconds.',
  signIns: 'Sign-ins',
  failures: 'Failed sign-ins',
  signInSum: (signIns: string, failures: string) => `${signIns} sign-ins and ${failures} failed ones.`,
  cut: (count: string) => `More than ${count}: only the newest are counted.`,
  span: 'Period',
  spans: { hour: 'Last hour', day: 'Last 24 hours', week: 'Last 7 days' },
  asTable: 'As a table',
  time: 'Time',
};
