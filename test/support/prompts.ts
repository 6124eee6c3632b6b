// Beginnings of texts, for the model that ships in the package.

/** As the samples of the model card begin. */
export const PROMPTS: readonly string[] = [
  'The old man looked at the sea and',
  'It was a dark and stormy night, and',
  'My fellow citizens, the state of our Union',
  'Tom said nothing for a while, but at last he',
  'A transaction is',
  '"I do not believe you," said',
  'He that trusts in the Lord',
  "The country's economy depends on",
  'In the year of our Lord',
  'When the function is called,',
]
