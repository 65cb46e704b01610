import { useEffect, useRef, useState } from 'react';

export interface MailFrameProps {
  readonly html: string;
  /** For screen readers. */
  readonly title: string;
  /** What the reader of the mail prefers. */
  readonly scheme: 'light' | 'dark';
}

/** Of a frame, pixels: what is in it says how high it is, and may say anything. */
const HEIGHT = { min: 120, max: 3000 };

/** The HTML of a mail, in a frame of an origin and a policy of its own: src/http/mail-frame.ts of the server. */
export function MailFrame({ html, title, scheme }: MailFrameProps) {
  const frame = useRef<HTMLIFrameElement>(null);
  const [height, setHeight] = useState(HEIGHT.min);
  // Its origin is no address that could be named. What is sent is no secret.
  const send = () => frame.current?.contentWindow?.postMessage({ html, scheme }, '*');
  useEffect(send, [html, scheme]);
  useEffect(() => {
    const listener = ({ source, data }: MessageEvent) => {
      if (source !== frame.current?.contentWindow || typeof data !== 'number' || !(data > 0)) return;
      setHeight(Math.min(HEIGHT.max, Math.max(HEIGHT.min, Math.ceil(data))));
    };
    addEventListener('message', listener);
    return () => removeEventListener('message', listener);
  }, []);
  return (
    <iframe
      ref={frame}
      className={`mail-frame ${scheme}`}
      title={title}
      sandbox="allow-scripts"
      src="mail-frame.html"
      height={height}
      onLoad={send}
    />
  );
}
