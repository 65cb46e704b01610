import { type CommentOf, unwrapped } from '../../src/rpc/contract-comments.ts';
import { grpcCodeName, httpStatusOf, type Reason, readReasons } from './reasons.ts';

/** The page that a server has for whoever meets a refusal: every reason, under its name, with what to do. HTML without scripts. */
export function errorPage(commentOf: CommentOf): string {
  const sections = [...readReasons(commentOf).values()].map(sectionOf);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Kith: why a call is refused</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
h2 { font-size: 1rem; margin: 2rem 0 0 }
:target { outline: 2px solid; outline-offset: .5rem }
</style>
</head>
<body>
<h1>Why a call is refused</h1>
<p>A refusal carries a <code>kith.error.v1.ErrorDetail</code>, whose <code>reason</code> is one of these. Branch on it in programs; for a reason that the client does not know, act on the status code.</p>
${sections.join('\n')}
</body>
</html>
`;
}

function sectionOf(reason: Reason): string {
  const { name, code, comment, whatToDo } = reason;
  return `<section id="${name}">
<h2><a href="#${name}"><code>${name}</code></a></h2>
<p>${grpcCodeName(code)}, HTTP ${httpStatusOf(reason)}. ${html(unwrapped(comment))}</p>
<p><strong>What to do:</strong> ${html(unwrapped(whatToDo))}</p>
</section>`;
}

/** A text of the contract, in which backticks stand around code, as HTML. */
function html(text: string): string {
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return escaped
    .replaceAll(/`([^`]+)`/g, '<code>$1</code>')
    .replaceAll(/\bERROR_REASON_[A-Z_]+/g, (name) => `<a href="#${name}">${name}</a>`);
}
