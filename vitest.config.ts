import { defineConfig } from 'vitest/config'

// Forks, because a native addon that crashes must not take the runner with it.
export default defineConfig({
  test: { pool: 'forks', include: ['test/**/*.test.ts'], testTimeout: 60_000 },
})
