// What docs/recipes/electron.md uses of Electron: its own package brings a browser along.

declare module 'electron' {
  interface WebContents {
    readonly id: number
    isDestroyed(): boolean
    send(channel: string, ...values: unknown[]): void
  }
  export const app: {
    on(event: 'ready' | 'will-quit', listener: () => void): void
  }
  export class BrowserWindow {
    constructor(options: { webPreferences: { preload: string } })
    on(event: 'closed', listener: () => void): this
    loadFile(path: string): Promise<void>
  }
  export const ipcMain: {
    handle(
      channel: string,
      listener: (event: { sender: WebContents }, ...values: unknown[]) => unknown,
    ): void
  }
  export const contextBridge: {
    exposeInMainWorld(name: string, api: Readonly<Record<string, unknown>>): void
  }
  export const ipcRenderer: {
    invoke(channel: string, ...values: unknown[]): Promise<unknown>
    on(channel: string, listener: (event: unknown, ...values: never[]) => void): void
  }
}
