package import MidCore
package import NIOCore

extension TextMode {
  /// How many characters the canonical text of an id has, all of ASCII.
  package var length: Int {
    switch self {
    case .uuid1, .uuid4, .uuid6, .uuid7: UUIDValue.textLength
    case .objectid: ObjectID.textLength
    case .ulid: ULID.textLength
    }
  }
}

extension TextIDs {
  /// Writes ids of a kind straight into an answer, in their canonical texts: no text of its own is made for any.
  ///
  /// - Parameters:
  ///   - count: how many, 1 to ``maximumBatch``.
  ///   - before: what stands before each text.
  ///   - after: what stands after each text.
  /// - Throws: What the generators of ``MidCore`` throw. The buffer is as it was then; ids that were made before are dropped.
  package func write(
    _ mode: TextMode, count: Int, before: [UInt8], after: [UInt8] = [], to buffer: inout ByteBuffer
  ) throws(IDError) {
    let start = buffer.writerIndex
    buffer.reserveCapacity(
      minimumWritableBytes: count * (before.count + mode.length + after.count))
    do throws(IDError) {
      switch mode {
      case .uuid1:
        for _ in 0..<count { Self.write(try self.uuids.version1(), before, after, to: &buffer) }
      case .uuid4:
        for _ in 0..<count { Self.write(try self.uuids.version4(), before, after, to: &buffer) }
      case .uuid6:
        for _ in 0..<count { Self.write(try self.uuids.version6(), before, after, to: &buffer) }
      case .uuid7:
        for id in try self.uuids.version7(count: count) { Self.write(id, before, after, to: &buffer) }
      case .objectid:
        for _ in 0..<count { Self.write(try self.objectIDs.next(), before, after, to: &buffer) }
      case .ulid:
        for _ in 0..<count { Self.write(try self.ulids.next(), before, after, to: &buffer) }
      }
    } catch {
      buffer.moveWriterIndex(to: start)
      throw error
    }
  }

  @inline(__always)
  private static func write(
    _ id: some FixedText, _ before: [UInt8], _ after: [UInt8], to buffer: inout ByteBuffer
  ) {
    let length = type(of: id).textLength
    buffer.writeBytes(before)
    _ = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { target in
      id.writeText(to: target)
      return length
    }
    buffer.writeBytes(after)
  }
}

/// An id whose texts all have the same length.
private protocol FixedText {
  static var textLength: Int { get }
  func writeText(to target: UnsafeMutableRawBufferPointer)
}

extension UUIDValue: FixedText {}
extension ObjectID: FixedText {}
extension ULID: FixedText {}
