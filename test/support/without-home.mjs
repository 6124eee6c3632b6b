// Imported before a program: runs it as a user who is in no list of users, with no HOME. Only root can.
delete process.env.HOME
process.setgroups([])
process.setgid(54321)
process.setuid(54321)
