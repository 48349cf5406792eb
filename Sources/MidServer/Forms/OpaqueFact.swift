package import MidCore

/// One of the things that an opaque number depends on beside the id: another value of it makes another number.
package enum OpaqueFact: Sendable, Hashable {
  /// `opaque.slot_bits`.
  case slotBits
  /// The check value of the key in a slot.
  case key(Int)
  /// The bits of a tag, `opaque.tags`.
  case tag(Tag)

  /// `slot_bits`, `key/3` or `tag/invoices`.
  package var name: String {
    switch self {
    case .slotBits: "slot_bits"
    case .key(let slot): "key/\(slot)"
    case .tag(let tag): "tag/\(tag)"
    }
  }

  /// Reads a ``name``. Returns nil for anything else.
  package init?(name: some StringProtocol) {
    let parts = name.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    switch (parts[0], parts.count) {
    case ("slot_bits", 1): self = .slotBits
    case ("key", 2):
      guard let slot = Int(parts[1]) else { return nil }
      self = .key(slot)
    case ("tag", 2):
      do throws(IDError) { self = .tag(try Tag(String(parts[1]))) } catch { return nil }
    default: return nil
    }
  }

  /// The fact's name in a store.
  package var storeName: String { "opaque/\(self.name)" }
}
