package import MidCore

/// One of the things that an opaque number depends on beside the id: another value of it makes another number.
package enum OpaqueFact: Sendable, Hashable {
  /// `opaque.slot_bits`.
  case slotBits
  /// The check value of the key in a slot.
  case key(Int)
  /// The bits of a tag, `opaque.tags`.
  case tag(Tag)

  /// `slot_bits`, `key/3` or `tag/invoices`, in ASCII: a tag is as ``MidCore/Tag/escaped`` has it.
  package var name: String {
    switch self {
    case .slotBits: "slot_bits"
    case .key(let slot): "key/\(slot)"
    case .tag(let tag): "tag/\(tag.escaped)"
    }
  }

  /// Reads a ``name``. Returns nil for anything else.
  package init?(name: some StringProtocol) {
    guard name.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
    let parts = name.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    switch (parts[0], parts.count) {
    case ("slot_bits", 1): self = .slotBits
    case ("key", 2):
      guard let slot = Int(parts[1]) else { return nil }
      self = .key(slot)
    case ("tag", 2):
      guard let tag = Tag(escaped: parts[1]) else { return nil }
      self = .tag(tag)
    default: return nil
    }
  }

  /// The fact's name in a store.
  package var storeName: String { "opaque/\(self.name)" }
}

extension Tag {
  /// The name in ASCII: bytes that are none of its signs, and `%`, are percent and two hexadecimal digits. So two names that
  /// Unicode takes for one are two texts, and nothing in it joins with what stands before.
  package var escaped: String {
    self.name.utf8.reduce(into: "") { text, byte in
      if (0x21...0x7E).contains(byte), byte != 0x25 {
        text.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        text += "%" + String(byte >> 4, radix: 16, uppercase: true) + String(byte & 15, radix: 16, uppercase: true)
      }
    }
  }

  /// Reads what ``escaped`` wrote. Returns nil for anything else.
  package init?(escaped text: some StringProtocol) {
    guard let name = HTTPQuery.decoded(String(text), isForm: false) else { return nil }
    do throws(IDError) { try self.init(name) } catch { return nil }
    guard self.escaped.utf8.elementsEqual(text.utf8) else { return nil }
  }
}
