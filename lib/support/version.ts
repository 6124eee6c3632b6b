// The version of this package. Written down, because code that was bundled into an application finds the
// application's package.json, or none; a test holds it to ours.

/** For example "0.1.0". */
export const VERSION = '0.1.0'
