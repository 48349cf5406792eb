/// What can be said of an encoded header block without decoding its strings. Source: RFC 7541, section 6.
package enum HeaderBlock {
  /// Whether decoding `block` leaves the dynamic table as it is: no literal with incremental indexing (`01……`), no
  /// table-size update (`001…..`). For such a block, identical bytes mean identical headers until the table changes.
  ///
  /// A block that is cut short answers false; the decoder will say what is wrong with it.
  package static func leavesTableAlone(_ block: UnsafeRawBufferPointer) -> Bool {
    var offset = 0
    while offset < block.count {
      let byte = block[offset]
      if byte & 0x80 != 0 {  // an indexed field
        guard Self.integer(block, &offset, prefix: 7) != nil else { return false }
      } else if byte & 0xe0 != 0 {  // 01…… or 001…..
        return false
      } else {  // a literal without indexing, or never indexed
        guard let name = Self.integer(block, &offset, prefix: 4) else { return false }
        if name == 0 { guard Self.skipString(block, &offset) else { return false } }
        guard Self.skipString(block, &offset) else { return false }
      }
    }
    return true
  }

  private static func skipString(_ block: UnsafeRawBufferPointer, _ offset: inout Int) -> Bool {
    guard offset < block.count, let length = Self.integer(block, &offset, prefix: 7) else { return false }
    guard length <= block.count - offset else { return false }
    offset += length
    return true
  }

  /// An integer of RFC 7541, section 5.1. Numbers past 2^28 are given up on: no header block of ours is that long.
  private static func integer(_ block: UnsafeRawBufferPointer, _ offset: inout Int, prefix: Int) -> Int? {
    let mask = (1 << prefix) - 1
    var value = Int(block[offset]) & mask
    offset += 1
    guard value == mask else { return value }
    var shift = 0
    while offset < block.count, shift <= 21 {
      let byte = block[offset]
      offset += 1
      value += Int(byte & 0x7f) << shift
      if byte & 0x80 == 0 { return value }
      shift += 7
    }
    return nil
  }
}

/// What the header blocks of a client's requests meant.
typealias HeaderBlockCache = HeaderMeanings<RequestHead>

/// Remembers what recent header blocks of a connection meant, by their bytes.
///
/// A peer's calls of one method repeat the same blocks byte for byte once its table is warm, so most calls never
/// touch the HPACK decoder. Only blocks that leave the table alone are kept, and all are forgotten when it changes.
package struct HeaderMeanings<Meaning> {
  private static var capacity: Int { 4 }
  private static var longestBlock: Int { 512 }

  @usableFromInline var entries: [(block: [UInt8], meaning: Meaning)] = []
  private var next = 0

  /// Creates a memory that knows no block yet.
  package init() {}

  /// What `block` means, if it was seen since the table last changed.
  @inlinable @inline(__always)
  package func head(for block: UnsafeRawBufferPointer) -> Meaning? {
    for entry in self.entries where entry.block.count == block.count {
      let same = entry.block.withUnsafeBytes { $0.elementsEqualBytes(block) }
      if same { return entry.meaning }
    }
    return nil
  }

  /// Notes what a block that was just decoded means.
  package mutating func decoded(_ block: UnsafeRawBufferPointer, as meaning: Meaning) {
    guard HeaderBlock.leavesTableAlone(block) else {
      self.entries.removeAll()
      self.next = 0
      return
    }
    guard block.count <= Self.longestBlock else { return }
    if self.entries.count < Self.capacity {
      self.entries.append((Array(block), meaning))
    } else {
      self.entries[self.next] = (Array(block), meaning)
      self.next = (self.next + 1) % Self.capacity
    }
  }
}

extension UnsafeRawBufferPointer {
  /// Whether both hold the same bytes; `other` must be as long as `self`.
  @inlinable @inline(__always)
  package func elementsEqualBytes(_ other: UnsafeRawBufferPointer) -> Bool {
    var offset = 0
    while offset + 8 <= self.count {
      if self.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        != other.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      {
        return false
      }
      offset += 8
    }
    while offset < self.count {
      if self[offset] != other[offset] { return false }
      offset += 1
    }
    return true
  }
}
