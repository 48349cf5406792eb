/// Why bytes are no protobuf message. Found while parsing; the caller of the service sent something broken.
package enum ProtobufError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The message ends inside a field, or a length reaches past its end.
  case truncated
  /// A number has more than 10 bytes, or does not fit in 64 bits.
  case malformedVarint
  /// A field's tag has more than 5 bytes, names field 0, or has one of the wire types 6 and 7, which do not exist.
  case malformedTag
  /// A group ends that did not begin, or begins and does not end.
  case unbalancedGroup
  /// Groups lie deeper in each other than ``ProtobufReader/maximumGroupDepth``.
  case groupsTooDeep
  /// A `string` is not UTF-8.
  case invalidUTF8

  /// One sentence for people.
  package var description: String {
    switch self {
    case .truncated: "the message is cut off"
    case .malformedVarint: "a number in the message is longer than 64 bits"
    case .malformedTag: "the message holds a field tag that does not exist"
    case .unbalancedGroup: "the message holds a group without its beginning or end"
    case .groupsTooDeep: "the message holds groups deeper than \(ProtobufReader.maximumGroupDepth)"
    case .invalidUTF8: "a text in the message is not UTF-8"
    }
  }
}
