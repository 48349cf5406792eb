import ArgumentParser

/// `mid tag`: the group of the commands for tags.
struct TagCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tag",
    abstract: "Create, list and change tags in a store.",
    discussion: """
      A tag names one business's own space of segment ids: each tag counts from its own first id. These commands \
      work on the store itself; no server has to run, and running servers notice within a minute.

        mid tag create orders --step 10000
        mid tag list --store mysql://mid@db.example:3306/ids
        mid tag set orders --next 5000000
        mid tag advance orders --past 4999999

      Where tags are kept in several databases, these commands take the same settings as a server: \
      MID_SEGMENT_STRIPES or MID_SEGMENT_SHARDS, or --stripes or --shards.

      The password of a MySQL store comes from MID_STORE_PASSWORD, never from the command line, where every user of \
      the machine could read it.
      """,
    subcommands: [
      TagCreateCommand.self, TagListCommand.self, TagSetCommand.self, TagAdvanceCommand.self, TagRestripeCommand.self,
    ]
  )
}
