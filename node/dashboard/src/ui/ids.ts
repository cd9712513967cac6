const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** newRolloutID draws a ULID, as the command line does: it sorts by time, and a repeat with it is harmless. */
export function newRolloutID(): string {
  let time = Date.now();
  let head = '';
  for (let i = 0; i < 10; i++) {
    head = (alphabet[time % 32] ?? '0') + head;
    time = Math.floor(time / 32);
  }
  const tail = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => alphabet[b % 32]).join('');
  return `r-${head}${tail}`;
}
