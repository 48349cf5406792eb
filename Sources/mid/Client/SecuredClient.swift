import MidRPC
import NIOCore
import NIOSSL

/// TLS made ready for connections to one server: the files are read, and it is clear whose certificate is expected.
struct SecuredClient: Sendable {
  private let context: NIOSSLContext
  private let host: String
  private let expectedName: String?

  /// Whom the calls are for where that is not the host: the name that the certificate is checked against.
  let serverName: String?

  /// Reads the files of `tls`. Blocks for as long as that takes.
  ///
  /// - Parameter host: whom connections will be made to, a name or an address.
  /// - Throws: `INVALID_ARGUMENT` with the option, the file and what is wrong.
  init(_ tls: ClientTLS, host: String) throws(RPCStatus) {
    self.context = try tls.context()
    self.host = host
    self.expectedName = tls.name(for: host)
    self.serverName = tls.serverName
  }

  /// Puts TLS in front of whatever else stands in the channel's pipeline. To be called on its event loop, before it is
  /// connected.
  ///
  /// - Parameter timeout: how long the handshake may take.
  /// - Returns: Fulfilled when the handshake is done and the certificate is the right one, within the event that tells so;
  ///   failed with a sentence. The channel is closed then.
  func secure(_ channel: any Channel, timeout: TimeAmount) throws -> EventLoopFuture<Void> {
    let handshake = TLSHandshakeHandler(
      name: self.expectedName ?? self.host, expectedName: self.expectedName, timeout: timeout,
      promise: channel.eventLoop.makePromise())
    let pipeline = channel.pipeline.syncOperations
    do {
      try pipeline.addHandler(NIOSSLClientHandler(context: self.context, serverHostname: self.expectedName))
      try pipeline.addHandler(handshake)
    } catch {
      handshake.abandon(error)
      throw error
    }
    return handshake.done
  }
}
