import type { DescField, DescMethod, DescService, JsonObject, MessageShape } from '@bufbuild/protobuf';
import type { DescMessage } from '@bufbuild/protobuf';
import { firstSentence } from '../../rpc/contract-comments.ts';
import { answerJson, callUnary } from '../client/call.ts';
import { CONNECTION_OPTIONS, connect, EXPLAIN_OPTION, targetOf } from '../client/connect.ts';
import { ownContract } from '../client/contract.ts';
import { createPlaceholders, curlOf, isSecret } from '../client/explain.ts';
import { BODY_HELP, messageOf, readJsonObject, readSecretLine } from '../client/json-body.ts';
import { type Argument, type Command, type Invocation, type Option, UsageError } from '../command.ts';
import { jsonShape, optionName, valueName, valuesOf } from './fields.ts';
import type { Group } from './groups.ts';
import { printList } from './list.ts';
import { requestOfInput, requestOfOptions } from './request.ts';
import { detailsOf } from './show.ts';
import { explainFindingUser, findUserId, USER_HELP, userIdPlaceholder } from './users.ts';

/** The commands of a service: one for each method that answers once. */
export function commandsOf(group: Group): Record<string, Command> {
  const service = ownContract().registry.getService(group.service);
  if (service === undefined) throw new Error(`the contract has no ${group.service}`);
  return Object.fromEntries(
    service.methods
      .filter(({ methodKind }) => methodKind === 'unary')
      .map((method) => [`${group.name} ${verbOf(method, group.noun)}`, commandOf(method, service, group)]),
  );
}

/** How a method is called and what it answers, as far as a command has to know. */
interface Shape {
  readonly method: DescMethod;
  /** The field with the id of the resource, which is an argument. */
  readonly idField: DescField | undefined;
  /** The field with the id of a user, where the resource is another. */
  readonly userField: DescField | undefined;
  readonly secrets: readonly DescField[];
  /** Fields that are options. */
  readonly fields: readonly DescField[];
  /** The resource in the answer. */
  readonly resource: DescField | undefined;
  /** The list in the answer. */
  readonly items: DescField | undefined;
  readonly isPaged: boolean;
}

/** `getUserDetails` of User as `get-details`. */
function verbOf({ name }: DescMethod, noun: string): string {
  const verb = name.replace(new RegExp(`(?<=[a-z])${noun}s?(?=[A-Z]|$)`), '');
  return verb.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase();
}

function shapeOf(method: DescMethod, noun: string): Shape {
  const snake = noun.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_').toLowerCase();
  const { fields } = method.input;
  const idField = fields.find(({ name }) => name === `${snake}_id`);
  const userField = fields.find((field) => field.name === 'user_id' && field !== idField);
  const secrets = fields.filter(isSecret);
  const answered = method.output.fields;
  const items = answered.find(({ fieldKind, message }) => fieldKind === 'list' && message !== undefined);
  const isPaged = answered.some(({ name }) => name === 'next_page_token');
  const isList = items !== undefined && (isPaged || answered.length === 1);
  return {
    method,
    idField,
    userField,
    secrets,
    fields: fields.filter((field) => field !== idField && field !== userField && !secrets.includes(field)),
    resource: answered.find(({ fieldKind, message }) => fieldKind === 'message' && message?.name === noun),
    items: isList ? items : undefined,
    isPaged,
  };
}

function commandOf(method: DescMethod, service: DescService, group: Group): Command {
  const { commentOf } = ownContract();
  const shape = shapeOf(method, group.noun);
  const verb = verbOf(method, group.noun);
  const takesInput = verb === 'create' || verb === 'update' || verb === 'record';
  const [summary = '', ...paragraphs] = commentOf(method).split(/\n\n+/);
  const first = firstSentence(summary);
  const others = [summary.slice(first.length), ...paragraphs].map((text) => text.replaceAll(/\s+/g, ' ').trim());
  return {
    summary: first.replace(/\.$/, '').replace(/(?<=^.{40,}): .*$/, ''),
    details: [...others, `Calls ${service.typeName}/${method.name}.`].filter((text) => text !== '').join('\n'),
    args: argumentsOf(shape, takesInput),
    options: {
      ...Object.fromEntries(shape.fields.map((field) => [optionName(field), optionOf(field)])),
      ...(shape.userField === undefined ? {} : { user: userOption(group) }),
      ...Object.fromEntries(
        shape.secrets.map((field) => [
          `${optionName(field)}-file`,
          {
            value: 'FILE',
            help: `A file whose first line is the ${field.name.replaceAll('_', ' ')}; - for standard input.`,
          },
        ]),
      ),
      ...(takesInput
        ? {
            input: {
              value: 'JSON',
              help: `The request, or the resource as get --json prints it: ${BODY_HELP}. Other options count before it.`,
            },
          }
        : {}),
      ...(shape.isPaged ? { all: { help: 'Go over all pages.' } } : {}),
      json: { help: 'Print the answer as JSON, as the contract has it.' },
      ...(shape.items === undefined ? {} : { jsonl: { help: 'Print each item as a line of JSON.' } }),
      ...CONNECTION_OPTIONS,
      ...EXPLAIN_OPTION,
    },
    examples: group.examples[verb] ?? [`kith ${group.name} ${verb}${shape.idField === undefined ? '' : ' ID'}`],
    run: (call) => run(shape, group, takesInput, call),
  };
}

function argumentsOf({ idField }: Shape, takesInput: boolean): Argument[] {
  if (idField === undefined) return [];
  const isUser = idField.name === 'user_id';
  const help = isUser ? `The user: ${USER_HELP}.` : 'The id.';
  return [{ name: isUser ? 'USER' : 'ID', help, ...(takesInput ? { optional: true } : {}) }];
}

function userOption({ defaultUser }: Group): Option {
  const absent = defaultUser === 'all' ? "everybody's" : 'me';
  return { value: 'USER', help: `Whose: ${USER_HELP}. Default: ${absent}.` };
}

function optionOf(field: DescField): Option {
  const value = valueName(field);
  const values = valuesOf(field);
  const isMultiple = field.fieldKind === 'list' || field.fieldKind === 'map' || valuesField(field);
  const comment = ownContract().commentOf(field).replaceAll(/\s+/g, ' ');
  return {
    help: `${comment}${formOf(field, value)}`,
    ...(value === undefined ? {} : { value }),
    ...(values === undefined ? {} : { values }),
    ...(isMultiple ? { multiple: true } : {}),
  };
}

/** How the value of an option is written, where its name does not say it. */
function formOf(field: DescField, value: string | undefined): string {
  if (value === 'DATE') return ' Such as 1906-12-09, 1906-12 or --12-09.';
  const shape = value === 'JSON' && field.message !== undefined ? jsonShape(field.message) : '';
  return shape === '' ? '' : ` As JSON: ${shape}.`;
}

/** Whether a field is a message around a list. */
function valuesField(field: DescField): boolean {
  return (
    field.fieldKind === 'message' && field.message.fields.length === 1 && field.message.fields[0]!.fieldKind === 'list'
  );
}

async function run(shape: Shape, group: Group, takesInput: boolean, call: Invocation): Promise<void> {
  const { args, options, terminal, signal } = call;
  const { method, idField, userField, resource } = shape;
  const { registry } = ownContract();
  const input = options.value('input');
  const request: JsonObject = {
    ...(takesInput && input !== undefined
      ? requestOfInput(await readJsonObject(input, terminal), method.input, resource, idField)
      : {}),
    ...requestOfOptions(shape.fields, options),
  };
  const id = args['USER'] ?? args['ID'];
  if (idField !== undefined && id !== undefined) request[idField.jsonName] = id;
  if (idField !== undefined && request[idField.jsonName] === undefined) {
    throw new UsageError(`${idField.name === 'user_id' ? 'USER' : 'ID'} is missing, and the input has none`);
  }
  const target = await targetOf(call);
  const isExplained = options.has('explain');
  const kith = connect(target);
  // A user is named by anything that is unique; the contract takes ids.
  const ofUser = idField?.name === 'user_id' ? idField : userField;
  const whose =
    ofUser === idField
      ? request[ofUser?.jsonName ?? '']
      : (options.value('user') ?? (group.defaultUser === 'me' ? 'me' : undefined));
  const placeholders = createPlaceholders();
  const before: string[] = [];
  if (ofUser !== undefined && typeof whose === 'string') {
    if (isExplained) {
      before.push(...[explainFindingUser(target.url, whose)].filter((text) => text !== undefined));
      request[ofUser.jsonName] = userIdPlaceholder(placeholders, whose);
    } else request[ofUser.jsonName] = await findUserId(kith, whose);
  }
  await addSecrets(shape, request, call, isExplained);
  const message = messageOf(method.input, request, registry);
  if (isExplained) {
    for (const text of [...before, curlOf(target.url, method, request, placeholders)]) await terminal.print(text);
    return;
  }
  if (shape.items !== undefined) {
    const isForPeople = !options.has('json') && !options.has('jsonl');
    if (group.leavesOut !== undefined && whose === undefined && isForPeople) terminal.note(`kith: ${group.leavesOut}`);
    const columns = group.otherColumns?.[verbOf(method, group.noun)] ?? group.columns;
    return printList(kith, { ...shape, items: shape.items, columns }, message, call);
  }
  await printAnswer(shape, await callUnary(kith, method, message, signal), call);
}

/** Reads what is secret from files, or asks for it where somebody can be asked and the request has none. */
async function addSecrets(
  { secrets }: Shape,
  request: JsonObject,
  { options, terminal }: Invocation,
  isExplained: boolean,
): Promise<void> {
  if (secrets.length === 0) return;
  for (const field of secrets) {
    const file = options.value(`${optionName(field)}-file`);
    // In an explanation a variable stands for it.
    if (file !== undefined) request[field.jsonName] = isExplained ? '' : await readSecretLine(file, terminal);
  }
  if (secrets.some((field) => request[field.jsonName] !== undefined)) return;
  const password = secrets.find(({ name }) => name === 'password');
  if (password === undefined) return;
  if (isExplained) {
    request[password.jsonName] = '';
    return;
  }
  if (!terminal.canAsk) {
    const names = secrets.map((field) => `--${optionName(field)}-file`).join(' or ');
    throw new UsageError(`there is no password: give ${names}, or run the command on a terminal, which asks for it`);
  }
  request[password.jsonName] = await askNewPassword(terminal);
}

async function askNewPassword(terminal: Invocation['terminal']): Promise<string> {
  const first = await terminal.askSecret('New password: ');
  const second = first === undefined ? undefined : await terminal.askSecret('Once more: ');
  if (!first || second === undefined) throw new UsageError('no password was entered');
  if (first !== second) throw new UsageError('the two passwords are not the same');
  return first;
}

async function printAnswer(
  { method, resource }: Shape,
  answer: MessageShape<DescMessage>,
  { options, terminal }: Invocation,
): Promise<void> {
  if (options.has('json'))
    return terminal.print(JSON.stringify(answerJson(method, answer, ownContract()), undefined, 2));
  const [only, ...others] = method.output.fields;
  if (only === undefined) return terminal.note('done');
  // The resource alone needs no heading.
  const inner =
    resource !== undefined && others.length === 0
      ? (answer as unknown as Record<string, unknown>)[resource.localName]
      : undefined;
  const lines =
    resource?.message !== undefined && inner !== undefined
      ? detailsOf(resource.message, inner as MessageShape<DescMessage>, terminal.styled)
      : detailsOf(method.output, answer, terminal.styled);
  for (const line of lines) await terminal.print(line);
}
