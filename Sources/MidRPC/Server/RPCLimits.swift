public import NIOCore

/// What one connection may ask of the server. Every limit is advertised where HTTP/2 has a setting for it, and enforced.
public struct RPCLimits: Sendable, Hashable {
  /// Calls under way at once on a connection, 1 to 2^31-1. One more is refused with REFUSED_STREAM. Default 1000.
  public var maxConcurrentStreams = 1000
  /// Bytes of a request's headers, encoded as well as decoded by HTTP/2's own count (names, values and 32 bytes a
  /// field), 1 KiB or more. More ends the connection. Default 16 KiB.
  public var maxHeaderListBytes = 16 * 1024
  /// Bytes of a request's message, 1 or more. More is answered RESOURCE_EXHAUSTED. Default 64 KiB.
  public var maxMessageBytes = 64 * 1024
  /// Bytes of requests that are not complete yet, over all of a connection's calls: the connection's window. Where such
  /// requests fill it, the largest is refused with REFUSED_STREAM; more ends the connection. Raised to what one message
  /// of ``maxMessageBytes`` needs, and to HTTP/2's least window of 65,535 bytes. Default 1 MiB.
  public var connectionWindowBytes = 1024 * 1024
  /// Frames that carry no call forward (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, ...) within 15 s, beyond 32
  /// for each call that a method answered. More ends the connection with ENHANCE_YOUR_CALM. Default 10,000.
  public var maxUnproductiveFrames = 10_000
  /// Streams that end by RST_STREAM within 15 s, whoever sends it, beyond one for each call that a method answered. More
  /// ends the connection with ENHANCE_YOUR_CALM: rapid reset (CVE-2023-44487) and resets that the client provokes
  /// (CVE-2025-8671). Default 2,000.
  public var maxResets = 2_000
  /// The least time between two PINGs without a response of ours between them. One that comes sooner is a strike, as
  /// gRPC counts them. Default 4 s, so that a client that asks every 5 s may be early; gRPC's own servers ask for 5 min.
  public var minPingInterval = TimeAmount.seconds(4)
  /// The strikes that are let pass; a response forgets them. One more ends the connection with ENHANCE_YOUR_CALM and
  /// `too_many_pings`, at which gRPC's clients slow down. Default 2.
  public var maxPingStrikes = 2
  /// Bytes of responses that the peer's flow control holds back, over all of a connection's calls; one response may be
  /// larger where it is alone, and those that room was kept for (``RPCReply/room(for:)``) may be as many again. What can't be kept waits where its method can tell, and is answered RESOURCE_EXHAUSTED where
  /// not, or where the peer reads nothing. Default 1 MiB.
  public var maxHeldBytes = 1024 * 1024

  /// Bytes that a burst of requests may bring about before they are sent; the rest of the burst waits for the socket.
  static let maxOutputBurst = 256 * 1024

  /// Bytes of header blocks that change the decoder's table, which are the dearest input there is, that are dealt with
  /// before other connections have their turn: some tens of microseconds of work.
  static let maxTableWork = 4 * 1024

  /// The default limits.
  public init() {}

  /// The largest frame we take. HTTP/2's least value: no request of ours needs a larger one.
  static let maxFrameSize = 16_384

  /// The window of each stream: a whole message with its prefix and some padding, never below HTTP/2's default.
  var streamWindow: Int { max(65_535, self.maxMessageBytes + 1024) }

  /// The connection's window: never smaller than a stream's, so that any message that is allowed can come in whole.
  var connectionWindow: Int { max(self.connectionWindowBytes, self.streamWindow) }
}
