// Python's strftime of a time without a zone, in the C locale.

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August']
MONTHS.push('September', 'October', 'November', 'December')
const DAY_MS = 86_400_000

/**
 * A time by local clocks. `%-d` and its like have no leading zero. `%z` and `%Z` are empty, as of a `datetime.now()`;
 * an unknown directive stays as it is.
 *
 * @example strftime('%d %b %Y', new Date(2024, 6, 26)) // '26 Jul 2024'
 */
export function strftime(format: string, time: Date): string {
  return format.replace(/%([-_0]?)([a-zA-Z%])/g, (whole, flag: string, directive: string) => {
    const text = directiveText(directive, time)
    if (text === undefined) return whole
    if (!/^\d+$/.test(text)) return text
    if (flag === '-') return text.replace(/^0+(?=\d)/, '')
    return flag === '_' ? text.replace(/^0+(?=\d)/, (zeros) => ' '.repeat(zeros.length)) : text
  })
}

function directiveText(directive: string, time: Date): string | undefined {
  const two = (value: number) => String(value).padStart(2, '0')
  const both = (format: string) => strftime(format, time)
  const [year, month, day, weekday] = [
    time.getFullYear(),
    time.getMonth(),
    time.getDate(),
    time.getDay(),
  ]
  const dayOfYear = Math.round((Date.UTC(year, month, day) - Date.UTC(year, 0, 1)) / DAY_MS) + 1
  switch (directive) {
    case 'Y':
      return String(year)
    case 'C':
      return two(Math.floor(year / 100))
    case 'y':
      return two(year % 100)
    case 'm':
      return two(month + 1)
    case 'd':
      return two(day)
    case 'e':
      return String(day).padStart(2)
    case 'H':
      return two(time.getHours())
    case 'I':
      return two(time.getHours() % 12 || 12)
    case 'k':
      return String(time.getHours()).padStart(2)
    case 'l':
      return String(time.getHours() % 12 || 12).padStart(2)
    case 'M':
      return two(time.getMinutes())
    case 'S':
      return two(time.getSeconds())
    case 'f':
      return String(time.getMilliseconds() * 1000).padStart(6, '0')
    case 'p':
      return time.getHours() < 12 ? 'AM' : 'PM'
    case 'P':
      return time.getHours() < 12 ? 'am' : 'pm'
    case 's':
      return String(Math.floor(time.getTime() / 1000))
    case 'a':
      return DAYS[weekday]!.slice(0, 3)
    case 'A':
      return DAYS[weekday]
    case 'b':
    case 'h':
      return MONTHS[month]!.slice(0, 3)
    case 'B':
      return MONTHS[month]
    case 'j':
      return String(dayOfYear).padStart(3, '0')
    case 'u':
      return String(weekday || 7)
    case 'w':
      return String(weekday)
    case 'U':
      return two(Math.floor((dayOfYear + 6 - weekday) / 7))
    case 'W':
      return two(Math.floor((dayOfYear + 6 - ((weekday + 6) % 7)) / 7))
    case 'V':
      return two(isoWeek(year, month, day).week)
    case 'G':
      return String(isoWeek(year, month, day).year)
    case 'c':
      return both('%a %b %e %H:%M:%S %Y')
    case 'D':
    case 'x':
      return both('%m/%d/%y')
    case 'F':
      return both('%Y-%m-%d')
    case 'X':
    case 'T':
      return both('%H:%M:%S')
    case 'R':
      return both('%H:%M')
    case 'r':
      return both('%I:%M:%S %p')
    case 'n':
      return '\n'
    case 't':
      return '\t'
    case 'z':
    case 'Z':
      return ''
    case '%':
      return '%'
    default:
      return undefined
  }
}

/** The week of ISO 8601: that of the Thursday of the same week. */
function isoWeek(year: number, month: number, day: number): { year: number; week: number } {
  const date = new Date(Date.UTC(year, month, day))
  date.setUTCDate(date.getUTCDate() + 4 - (date.getUTCDay() || 7))
  const first = Date.UTC(date.getUTCFullYear(), 0, 1)
  return {
    year: date.getUTCFullYear(),
    week: Math.ceil(((date.getTime() - first) / DAY_MS + 1) / 7),
  }
}
