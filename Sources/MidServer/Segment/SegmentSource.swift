package import Logging
package import MidCore

/// Where segments come from.
package enum SegmentSource: Sendable {
  /// The store itself.
  case store
  /// Databases that have all tags, in the order of their remainders.
  case stripes([SegmentDatabases.Database])
  /// Databases that tags are shared out over, and the tags that are not placed by their names.
  case shards([SegmentDatabases.Database], pins: [Tag: String])

  /// Joins several databases, which are not opened yet; nil for the store.
  ///
  /// - Parameters:
  ///   - marks: what earlier runs have had, and where this one remembers.
  ///   - patience: how long one database may take before another is asked.
  ///   - logger: is told what goes down and comes up.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` for a pin to a database that there is not.
  package func open(
    marks: SegmentMarks? = nil, patience: Duration, logger: Logger
  ) throws(IDError) -> (any CompositeStore)? {
    func joined(_ databases: [SegmentDatabases.Database]) -> SegmentDatabases {
      SegmentDatabases(databases, patience: patience) { status in
        if status.isUp {
          logger.info("segment database answers", metadata: ["database": "\(status.name)"])
          for warning in status.durabilityWarnings {
            logger.warning("store not durable", metadata: ["store": "\(status.name)", "reason": "\(warning)"])
          }
        } else {
          logger.warning(
            "segment database down",
            metadata: ["database": "\(status.name)", "error": "\(status.error.map { "\($0)" } ?? "unknown")"])
        }
      }
    }
    switch self {
    case .store: return nil
    case .stripes(let databases):
      let remember: StripedStore.Memory = { last, tag, database in
        do throws(IDError) { try await marks?.set(last, of: tag, in: database) } catch {
          logger.warning(
            "segment's end not remembered",
            metadata: ["tag": "\(tag)", "database": "\(database)", "error": "\(error)"])
        }
      }
      return StripedStore(
        joined(databases), marks: marks?.found ?? StripedStore.Marks(), remember: remember,
        onRefusal: { tag, database, error in
          logger.error(
            "segment database left out",
            metadata: ["tag": "\(tag)", "database": "\(database)", "error": "\(error)"])
        })
    case .shards(let databases, let pins):
      return ShardedStore(joined(databases), homes: try ShardHomes(names: databases.map(\.name), pins: pins))
    }
  }
}
