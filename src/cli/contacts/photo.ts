import { Buffer } from 'node:buffer';
import { PhotoSize } from '../../../packages/client/src/contract.ts';
import { CONNECTION_OPTIONS, connect, targetOf } from '../client/connect.ts';
import { type Command, CommandError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { readInputFile } from '../input-files.ts';
import { replaceFile } from '../resources/export.ts';

const SIZES: Readonly<Record<string, PhotoSize>> = { small: PhotoSize.SMALL, large: PhotoSize.LARGE };

export const setPhoto: Command = {
  summary: 'Give a contact a photo',
  details:
    'The middle of the picture is cut out as a square, turned as the camera held it, and scaled down to 512 pixels; nothing else that is in the file is kept. It may have 700,000 bytes and 4,200,000 pixels.\nCalls kith.contact.v1.ContactService/SetContactPhoto.',
  args: [
    { name: 'ID', help: 'The id of the contact.' },
    { name: 'FILE', help: 'A picture in JPEG, PNG or WebP; or - for standard input.' },
  ],
  options: {
    etag: { value: 'ETAG', help: 'The etag the contact must still have. Absent: whatever it has.' },
    ...CONNECTION_OPTIONS,
  },
  examples: ['kith contacts set-photo ID ada.jpg'],
  async run(call) {
    const { args, options, terminal, signal } = call;
    const image = await readInputFile(args['FILE']!, terminal);
    const etag = options.value('etag');
    const kith = connect(await targetOf(call));
    const request = { contactId: args['ID']!, image: Uint8Array.from(image), ...(etag !== undefined && { etag }) };
    const { contact } = await kith.contacts.setPhoto(request, { signal });
    terminal.note(`the photo has the id ${contact.photoId}`);
  },
};

export const getPhoto: Command = {
  summary: "Write a contact's photo to a file",
  details: 'It is JPEG.\nCalls kith.contact.v1.ContactService/GetContact and GetContactPhoto.',
  args: [
    { name: 'ID', help: 'The id of the contact.' },
    { name: 'FILE', help: 'The file, which takes the place of one that is there.' },
  ],
  options: {
    size: {
      value: 'SIZE',
      values: Object.keys(SIZES),
      help: 'small: 96 pixels in each direction; large: 512, or fewer where the picture was smaller. Default: large.',
    },
    ...CONNECTION_OPTIONS,
  },
  examples: ['kith contacts get-photo ID ada.jpg', 'kith contacts get-photo ID small.jpg --size small'],
  async run(call) {
    const { args, options, terminal, signal } = call;
    const file = args['FILE']!;
    const kith = connect(await targetOf(call));
    const { contact } = await kith.contacts.get({ contactId: args['ID']! }, { signal });
    const { photoId } = contact;
    if (photoId === '') throw new CommandError('the contact has no photo', EXIT_CODES.notFound);
    const size = SIZES[options.value('size') ?? 'large']!;
    const { image } = await kith.contacts.getPhoto({ photoId, size }, { signal });
    await replaceFile(file, async (to) => void (await to(Buffer.from(image))));
    terminal.note(`written to ${file}`);
  },
};
