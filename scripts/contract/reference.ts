import type { DescEnum, DescField, DescMessage, DescMethod, DescService } from '@bufbuild/protobuf';
import { PermissionSchema, RoleSchema } from '../../gen/kith/access/v1/role_pb.ts';
import { ErrorDetailSchema, ErrorReasonSchema, RefusalSchema } from '../../gen/kith/error/v1/error_pb.ts';
import { PERMISSIONS_OF_ROLE, permissionName } from '../../src/kernel/access.ts';
import { SERVICES } from '../../src/services.ts';
import { type CommentOf, firstSentence, unwrapped } from '../../src/rpc/contract-comments.ts';
import {
  ACCESS,
  grpcCodeName,
  httpStatusOf,
  type Reason,
  readReasons,
  REASONS_OF_ANY_CALL,
  REASONS_OF_SIGNED_IN,
  reasonsOf,
} from './reasons.ts';
import { constraintsOf, isRequired, messageRules, TEXT_RULES } from './rules.ts';
import { enumsOf, hasPresence, isRead, messagesFrom } from './types.ts';
import { accessInBrief, accessInWords, code, type Links, rulesInWords, typeName } from './words.ts';

const PERMISSIONS = 'permissions.md';
const ERRORS = 'errors.md';
const TEXT = 'text.md';

/** The headings of reasons, by the tens of their numbers, as the contract groups them. */
const FAMILIES: readonly (readonly [first: number, heading: string])[] = [
  [1, 'Any call'],
  [20, 'Who calls'],
  [40, 'Users, sessions and keys'],
  [60, 'Contacts'],
  [80, 'Writes and lists'],
  [100, 'Activity'],
  [120, 'Fields of users'],
  [140, 'Mail'],
  [160, 'Session cookies'],
  [170, 'Sign-up'],
];

/** The pages of docs/reference/, by file name: Markdown with links between them. */
export function referencePages(commentOf: CommentOf): ReadonlyMap<string, string> {
  const reference = new Reference(commentOf);
  const pages = new Map([
    ['README.md', reference.index()],
    ...SERVICES.map((service): [string, string] => [pageOf(service), reference.service(service)]),
    [ERRORS, reference.errors()],
    [PERMISSIONS, reference.permissions()],
    [TEXT, reference.text()],
  ]);
  checkLinks(pages);
  return pages;
}

class Reference {
  readonly #commentOf: CommentOf;
  readonly #reasons: ReadonlyMap<string, Reason>;
  /** Of each type of the contract, the page that has it. */
  readonly #pages: ReadonlyMap<string, string>;
  readonly #methods: ReadonlyMap<string, DescMethod>;

  constructor(commentOf: CommentOf) {
    this.#commentOf = commentOf;
    this.#reasons = readReasons(commentOf);
    this.#methods = new Map(SERVICES.flatMap(({ methods }) => methods).map((method) => [method.name, method]));
    this.#pages = new Map(
      SERVICES.flatMap((service) => {
        return typesOf(service).map((desc): [string, string] => {
          const { typeName: name, file } = desc;
          if (file.proto.package === 'kith.access.v1') return [name, PERMISSIONS];
          if (file.proto.package === 'kith.error.v1') return [name, ERRORS];
          const own = SERVICES.find((each) => each.file === file);
          const inPackage = SERVICES.filter((each) => each.file.proto.package === file.proto.package);
          return [name, pageOf(own ?? inPackage.find((each) => typesOf(each).includes(desc)) ?? inPackage[0]!)];
        });
      }),
    );
  }

  index(): string {
    const rows = SERVICES.flatMap((service) => [
      `## [${service.name}](${pageOf(service)})`,
      this.#prose(firstSentence(this.#commentOf(service)), 'README.md'),
      table(
        ['call', 'what it does', 'who may call'],
        service.methods.map((method) => [
          link(method.name, 'README.md', pageOf(service), method.name),
          this.#prose(firstSentence(this.#commentOf(method)), 'README.md'),
          accessInBrief(ACCESS.of(method).access, linksFrom('README.md')),
        ]),
      ),
    ]);
    return page(
      'Reference of the contract',
      'Everything that a client can call. These pages are made from [`proto`](../../proto) by `npm run generate`.',
      [
        `- Calls are \`POST /<package>.<Service>/<Call>\` with a JSON body (Connect), or gRPC and gRPC-Web with clients made from the contract ([docs/clients.md](../clients.md)). Calls that only read also take \`GET\` with the query parameters \`encoding=json\` and \`message\`.`,
        '- In JSON, fields are named in camel case (`user_id` is `userId`; requests may have either), times are RFC 3339 texts, durations seconds with an `s` (`"600s"`), 64-bit numbers texts, enums the names of their values. A field that has the value of nothing (`""`, `0`, `false`, no items) is left out of answers.',
        `- What is refused carries a reason: [errors](${ERRORS}). What callers are allowed: [permissions and roles](${PERMISSIONS}). What texts may hold: [text](${TEXT}).`,
        '- The same as OpenAPI 3.1, for tools that read it: `GET /openapi.json` of a running server, or [`gen/openapi.json`](../../gen/openapi.json).',
      ].join('\n'),
      ...rows,
    );
  }

  service(service: DescService): string {
    const here = pageOf(service);
    const messages = messagesOf(service).filter(({ typeName: name }) => this.#pages.get(name) === here);
    const enums = enumsOf(messagesOf(service)).filter(({ typeName: name }) => this.#pages.get(name) === here);
    const requests = service.methods.flatMap(({ input, output }) => [input, output]);
    const shared = messages.filter((desc) => !requests.includes(desc));
    return page(
      service.name,
      `Package \`${service.file.proto.package}\`. [All services](README.md).`,
      this.#prose(this.#commentOf(service), here),
      table(
        ['call', 'what it does'],
        service.methods.map((method) => [
          link(method.name, here, here, method.name),
          this.#prose(firstSentence(this.#commentOf(method)), here),
        ]),
      ),
      ...service.methods.flatMap((method) => this.#method(method, here)),
      ...(shared.length === 0 ? [] : ['# Messages', ...shared.flatMap((desc) => this.#message(desc, here, '##'))]),
      ...(enums.length === 0 ? [] : ['# Enums', ...enums.flatMap((desc) => this.#enum(desc, here))]),
    );
  }

  errors(): string {
    const intro = [
      'A refusal has the status code of the protocol (over gRPC as below; over Connect the HTTP status, and the code in small letters as `code`) and one detail `kith.error.v1.ErrorDetail`:',
      '```json\n{\n  "code": "not_found",\n  "message": "no such user",\n  "details": [\n    {\n      "type": "kith.error.v1.ErrorDetail",\n      "value": "CCg",\n      "debug": { "reason": "ERROR_REASON_USER_NOT_FOUND" }\n    }\n  ]\n}\n```',
      'Branch on the reason. There will be more of them: for one that the client does not know, act on the status code. Messages are for developers, and may change.',
      'A running server has each reason with what to do about it under its name, at `/errors#ERROR_REASON_USER_NOT_FOUND` for example (off with `KITH_REFLECTION=false`).',
      `# ${ErrorDetailSchema.name}`,
      this.#fields(ErrorDetailSchema, ERRORS),
      `# ${RefusalSchema.name}`,
      this.#prose(this.#commentOf(RefusalSchema), ERRORS),
      this.#fields(RefusalSchema, ERRORS),
    ];
    const callers = new Map<string, DescMethod[]>();
    for (const method of this.#methods.values()) {
      for (const { name } of reasonsOf(method, this.#reasons, this.#commentOf))
        callers.set(name, [...(callers.get(name) ?? []), method]);
    }
    const reasons = [...this.#reasons.values()];
    const families = FAMILIES.flatMap(([first, heading], i) => {
      const end = FAMILIES[i + 1]?.[0] ?? Number.POSITIVE_INFINITY;
      const own = reasons.filter(({ number }) => number >= first && number < end);
      return [`# ${heading}`, ...own.flatMap((reason) => this.#reason(reason, callers.get(reason.name) ?? []))];
    });
    return page(
      'Errors',
      'What a refusal says, and what to do about it. [All services](README.md).',
      ...intro,
      ...families,
    );
  }

  permissions(): string {
    const roles = Object.entries(PERMISSIONS_OF_ROLE);
    const permissions = PermissionSchema.values.filter(({ number }) => number !== 0);
    return page(
      'Permissions and roles',
      'What callers are allowed. [All services](README.md).',
      this.#prose(this.#commentOf(PermissionSchema), PERMISSIONS),
      table(
        ['permission', ...roles.map(([role]) => role)],
        permissions.map(({ name }) => [
          link(code(name), PERMISSIONS, PERMISSIONS, name),
          ...roles.map(([, allowed]) => ([...allowed].some((each) => permissionName(each) === name) ? 'yes' : '')),
        ]),
      ),
      '# Roles',
      this.#prose(this.#commentOf(RoleSchema), PERMISSIONS),
      this.#values(RoleSchema, PERMISSIONS),
      '# Permissions',
      ...permissions.flatMap((value) => [
        `## ${value.name}`,
        this.#prose(this.#commentOf(value), PERMISSIONS),
        ...this.#usesOf(value.name),
      ]),
    );
  }

  text(): string {
    return page(
      'Text',
      'The rules for texts that people type, which fields of requests name. [All services](README.md).',
      'Lengths are counted in code points of Unicode. Texts are UTF-8. UUIDs are taken in either case and answered in lower case.',
      ...TEXT_RULES.flatMap((rule) => [`# ${rule.name}`, this.#prose(this.#commentOf(rule), TEXT)]),
    );
  }

  #usesOf(permission: string): string[] {
    const methods = [...this.#methods.values()];
    const needing = methods.filter((method) => {
      const { access } = ACCESS.of(method);
      return access.kind === 'permission' && permissionName(access.permission) === permission;
    });
    const guarded = methods.flatMap((method) =>
      ACCESS.of(method)
        .guarded.filter((each) => permissionName(each.permission) === permission)
        .map(({ field }) => `\`${field.name}\` in ${this.#linkToMethod(method, PERMISSIONS)}`),
    );
    const calls = needing.map((method) => this.#linkToMethod(method, PERMISSIONS)).join(', ');
    return [
      [
        ...(calls === '' ? [] : [`Calls: ${calls}.`]),
        ...(guarded.length === 0 ? [] : [`Fields: ${guarded.join(', ')}.`]),
      ].join(' '),
    ].filter((text) => text !== '');
  }

  #method(method: DescMethod, here: string): string[] {
    const { input, output, parent } = method;
    const own = reasonsOf(method, this.#reasons, this.#commentOf);
    const isPublic = ACCESS.of(method).access.kind === 'public';
    const any = [
      ...(isPublic ? [] : [`[those of every call that takes a caller](${ERRORS}#who-calls)`]),
      `[those of any call](${ERRORS}#any-call)`,
    ].join(' and ');
    const reasons = own.map((reason) => this.#linkToReason(reason, here)).join(', ');
    return [
      `# ${method.name}`,
      this.#prose(this.#commentOf(method), here),
      [
        `- **Path**: \`/${parent.typeName}/${method.name}\`, ${kindOf(method)}.`,
        `- **Who may call**: ${this.#access(method, here)}.`,
        `- **Calling again**: ${repeating(method)}.`,
        `- **Refused with**: ${reasons}${reasons === '' ? '' : ', beside '}${any}.`,
      ].join('\n'),
      ...this.#message(input, here, '##'),
      ...this.#message(output, here, '##'),
    ];
  }

  #access(method: DescMethod, here: string): string {
    return accessInWords(ACCESS.of(method).access, linksFrom(here));
  }

  #message(desc: DescMessage, here: string, level: string): string[] {
    const rules = messageRules(desc);
    const oneofs = desc.oneofs.map(
      (oneof) =>
        `${isRequired(oneof) ? 'Exactly one' : 'At most one'} of ${oneof.fields.map(({ name }) => code(name)).join(', ')} is set. ${this.#prose(this.#commentOf(oneof), here)}`,
    );
    return [
      `${level} ${desc.name}`,
      this.#prose(this.#commentOf(desc), here),
      ...(rules.length === 0 ? [] : [rules.map((rule) => `- It ${rule}.`).join('\n')]),
      ...oneofs,
      ...(desc.fields.length === 0 ? [] : [this.#fields(desc, here)]),
    ];
  }

  #fields(desc: DescMessage, here: string): string {
    return table(
      ['field', 'type', 'what it is'],
      desc.fields.map((field) => [code(field.name), this.#type(field, here), this.#field(field, here)]),
    );
  }

  #field(field: DescField, here: string): string {
    const links = linksFrom(here);
    const guarded = [...this.#methods.values()]
      .flatMap((method) => ACCESS.of(method).guarded)
      .find((each) => each.field === field);
    const rules = [
      ...rulesInWords(constraintsOf(field), links),
      ...(guarded === undefined ? [] : [`setting it takes ${links.permission(permissionName(guarded.permission))}`]),
    ];
    const comment = this.#prose(this.#commentOf(field), here);
    return rules.length === 0 ? comment : `${comment}\n\n_Rules_: ${rules.join('; ')}.`;
  }

  #type(field: DescField, here: string): string {
    const type = field.message ?? field.enum;
    const optional =
      hasPresence(field) && field.fieldKind !== 'message' && field.oneof === undefined ? 'optional ' : '';
    const target = type && this.#pages.get(type.typeName);
    const name = typeName(field);
    if (type === undefined || target === undefined) return `${optional}${name.replaceAll('<', '&lt;')}`;
    return optional + name.replace(type.name, () => link(type.name, here, target, anchorOf(type)));
  }

  #enum(desc: DescEnum, here: string): string[] {
    return [`## ${desc.name}`, this.#prose(this.#commentOf(desc), here), this.#values(desc, here)];
  }

  #values(desc: DescEnum, here: string): string {
    return table(
      ['value', 'number', 'what it is'],
      desc.values.map((value) => [code(value.name), String(value.number), this.#prose(this.#commentOf(value), here)]),
    );
  }

  #reason(reason: Reason, methods: readonly DescMethod[]): string[] {
    const { name, code: status, comment, whatToDo } = reason;
    const calls = methods.map((method) => this.#linkToMethod(method, ERRORS));
    const where = REASONS_OF_ANY_CALL.includes(name)
      ? 'Any call'
      : REASONS_OF_SIGNED_IN.includes(name)
        ? 'Any call that takes a caller'
        : calls.length > 8
          ? `${calls.length} calls, as their pages say`
          : calls.join(', ') || 'No call of the contract itself';
    return [
      `## ${name}`,
      this.#prose(comment, ERRORS),
      [
        `- **What to do**: ${this.#prose(whatToDo, ERRORS)}`,
        `- **Status**: \`${grpcCodeName(status)}\`, HTTP ${httpStatusOf(reason)}. **Where**: ${where}.`,
      ].join('\n'),
    ];
  }

  /** A text of the contract with links to the calls, reasons and permissions that it names. */
  #prose(text: string, here: string): string {
    return unwrapped(text)
      .split(/(`[^`]*`)/)
      .map((part, i) => (i % 2 === 1 ? part : this.#linked(part, here)))
      .join('');
  }

  #linked(text: string, here: string): string {
    return text.replaceAll(NAMES, (name) => {
      const reason = this.#reasons.get(name);
      if (reason !== undefined) return this.#linkToReason(reason, here);
      if (PermissionSchema.values.some((value) => value.name === name)) return linksFrom(here).permission(name);
      const method = this.#methods.get(name.replace(/^\w+\./, ''));
      return method === undefined ? name : link(name, here, pageOf(method.parent), method.name);
    });
  }

  #linkToReason({ name, shortName }: Reason, here: string): string {
    return link(code(shortName), here, ERRORS, name);
  }

  #linkToMethod(method: DescMethod, here: string): string {
    return link(method.name, here, pageOf(method.parent), method.name);
  }
}

/** What may be a link in a text of the contract: what is in capitals, and names of calls. */
const NAMES = /\b(?:ERROR_REASON_[A-Z_]+|PERMISSION_[A-Z_]+|(?:[A-Z]\w+Service\.)?[A-Z][a-z]\w+)\b/g;

function linksFrom(here: string): Links {
  return {
    textRule: (name) => link(code(name), here, TEXT, name),
    permission: (name) => link(code(name), here, PERMISSIONS, name),
  };
}

function messagesOf({ methods }: DescService): DescMessage[] {
  return messagesFrom(methods.flatMap(({ input, output }) => [input, output]));
}

function kindOf(method: DescMethod): string {
  switch (method.methodKind) {
    case 'unary':
      return isRead(method) ? 'unary; also by `GET`' : 'unary';
    case 'server_streaming':
      return 'a stream of answers';
    case 'client_streaming':
      return 'a stream of requests';
    default:
      return 'a stream of requests and of answers, over HTTP/2';
  }
}

function repeating(method: DescMethod): string {
  if (isRead(method)) return 'only reads, so it can be repeated';
  if (method.methodKind !== 'unary') return 'open it again, as said above';
  const names = new Set(method.input.fields.map(({ name }) => name));
  if (names.has('request_id')) return 'writes; with the same `request_id` it is done once';
  if (names.has('etag'))
    return 'writes; with the `etag` that was read, it is not done a second time over another change';
  return 'has effects: not to be repeated without looking';
}

/** The messages and enums that a service uses, but for the reasons of errors, which have a page. */
function typesOf(service: DescService): readonly (DescMessage | DescEnum)[] {
  const messages = messagesOf(service);
  return [...messages, ...enumsOf(messages)].filter((desc) => desc !== ErrorReasonSchema);
}

function pageOf({ name }: DescService): string {
  return `${name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase()}.md`;
}

/** The heading that describes a type: that of a role or permission is a section of its page, the reasons are a page. */
function anchorOf(type: DescMessage | DescEnum): string {
  if (type === RoleSchema) return 'roles';
  if (type === ErrorReasonSchema) return 'errors';
  return type === PermissionSchema ? 'permissions' : type.name;
}

function link(text: string, here: string, target: string, heading: string): string {
  return `[${text}](${here === target ? '' : target}#${slugOf(heading)})`;
}

/** The anchor that GitHub gives to a heading. */
function slugOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
}

/** `title` is the one heading of the first level: others are given from the first level too, and moved below it. */
function page(title: string, ...blocks: readonly string[]): string {
  const moved = blocks.map((block) => (block.startsWith('#') && !block.startsWith('## [') ? `#${block}` : block));
  return `${[`# ${title}`, ...moved].join('\n\n')}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
}

/** Text of several paragraphs in a cell. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n\n', '<br><br>').replaceAll('\n', '<br>');
}

/** Throws for a link to a page or heading that there is not, and for headings of a page that have one anchor. */
function checkLinks(pages: ReadonlyMap<string, string>): void {
  const anchors = new Map<string, Set<string>>();
  for (const [name, text] of pages) {
    const slugs = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
      slugOf(heading.replaceAll(/\[|\]\(.*\)/g, '')),
    );
    const twice = slugs.find((slug, i) => slugs.indexOf(slug) !== i);
    if (twice !== undefined) throw new Error(`${name} has two headings #${twice}`);
    anchors.set(name, new Set(slugs));
  }
  for (const [name, text] of pages) {
    for (const [, target = '', slug = ''] of text.matchAll(/\]\(([\w-]+\.md)?#([\w-]+)\)/g)) {
      if (anchors.get(target || name)?.has(slug) !== true) throw new Error(`${name} links to ${target}#${slug}`);
    }
  }
}
