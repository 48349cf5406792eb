package import MidCore

/// The tags that there are tickets of, each with its generator.
package struct TicketDirectory: Sendable {
  private let generators: [Tag: TicketGenerator]

  /// Creates a directory.
  package init(_ generators: [Tag: TicketGenerator]) {
    self.generators = generators
  }

  /// The generator of `tag`.
  ///
  /// - Throws: ``MidCore/IDError/Code/unknownTag``, with what to set.
  package func generator(for tag: Tag) throws(IDError) -> TicketGenerator {
    guard let generator = self.generators[tag] else {
      let known = self.generators.keys.map(\.name).sorted().joined(separator: ", ")
      throw IDError(
        .unknownTag, "there are no tickets of tag \(tag); name its table in ticket.tables (there are: \(known))")
    }
    return generator
  }

  /// Whether every tag has a database that did not fail the last time it was asked.
  package var isReady: Bool { !self.generators.isEmpty && self.generators.values.allSatisfy(\.isReady) }

  /// Ends all calls that wait, and later ones.
  package func close() {
    for generator in self.generators.values { generator.close() }
  }
}
