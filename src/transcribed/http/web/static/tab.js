/** What this tab keeps until it is closed: strings by name. Nothing where the browser denies storage. */

export function kept(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Keep a value, or forget it if it is null. */
export function keep(name, value) {
  try {
    if (value === null) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, value);
  } catch {
    // Storage is denied or full.
  }
}
