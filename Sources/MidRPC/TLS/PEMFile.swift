package import NIOSSL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Reads certificates and keys, and says in words what is wrong with a file.
package enum PEMFile {
  /// Why a file is of no use, as the rest of a sentence.
  package struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
  }

  /// The largest file that is read, in bytes: all of a system's authorities are a quarter of that.
  package static let maximumSize = 1024 * 1024

  /// All certificates of a PEM file, in its order; at least one.
  package static func certificates(_ path: String) throws(Failure) -> [NIOSSLCertificate] {
    let bytes = try self.read(path)
    guard self.contains("CERTIFICATE-----", in: bytes) else {
      throw Failure(
        self.isPEM(bytes)
          ? "is PEM, but holds no certificate" : "is not PEM: it has no line -----BEGIN CERTIFICATE-----")
    }
    do {
      return try NIOSSLCertificate.fromPEMBytes(bytes)
    } catch {
      throw Failure("holds a certificate that can't be read: it is damaged or cut off")
    }
  }

  /// The private key of a PEM file.
  package static func privateKey(_ path: String) throws(Failure) -> NIOSSLPrivateKey {
    let bytes = try self.read(path)
    guard self.contains("PRIVATE KEY-----", in: bytes) else {
      throw Failure(
        self.isPEM(bytes)
          ? "is PEM, but holds no private key" : "is not PEM: it has no line -----BEGIN PRIVATE KEY-----")
    }
    // Both forms: PKCS #8 (RFC 5958), and the older one with headers (RFC 1421).
    guard !self.contains("BEGIN ENCRYPTED PRIVATE KEY", in: bytes), !self.contains("Proc-Type: 4,ENCRYPTED", in: bytes)
    else {
      throw Failure(
        "is encrypted, and there is nobody to ask for its passphrase: decrypt it with `openssl pkey -in FILE -out FILE` "
          + "and let only this program's user read it")
    }
    do {
      return try NIOSSLPrivateKey(bytes: bytes, format: .pem)
    } catch {
      throw Failure("holds a private key that can't be read: it is damaged, or of a kind that TLS does not know")
    }
  }

  private static func contains(_ text: StaticString, in bytes: [UInt8]) -> Bool {
    let wanted = text.withUTF8Buffer { Array($0) }
    guard bytes.count >= wanted.count, let first = wanted.first else { return false }
    return bytes.indices.dropLast(wanted.count - 1).contains { index in
      bytes[index] == first && bytes[index..<(index + wanted.count)].elementsEqual(wanted)
    }
  }

  private static func isPEM(_ bytes: [UInt8]) -> Bool { self.contains("-----BEGIN ", in: bytes) }

  /// The bytes of a small file, at least one.
  ///
  /// - Parameter size: how many bytes it may have.
  package static func read(_ path: String, atMost size: Int = Self.maximumSize) throws(Failure) -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { throw self.failure(errno) }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 * 1024)
    while true {
      let count = chunk.withUnsafeMutableBytes { Self.readSome(file, $0) }
      if count == 0 { break }
      guard count > 0 else {
        if errno == EINTR { continue }
        throw self.failure(errno)
      }
      bytes.append(contentsOf: chunk[..<count])
      guard bytes.count <= size else { throw Failure("has more than \(size) bytes") }
    }
    guard !bytes.isEmpty else { throw Failure("is empty") }
    return bytes
  }

  private static func readSome(_ file: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
    #if canImport(Glibc)
      Glibc.read(file, buffer.baseAddress, buffer.count)
    #elseif canImport(Musl)
      Musl.read(file, buffer.baseAddress, buffer.count)
    #else
      Darwin.read(file, buffer.baseAddress, buffer.count)
    #endif
  }

  private static func failure(_ code: Int32) -> Failure {
    switch code {
    case ENOENT, ENOTDIR: Failure("no such file")
    case EACCES, EPERM: Failure("no permission to read it")
    case EISDIR: Failure("is a folder, not a file")
    default: Failure("can't be read: \(String(cString: strerror(code)))")
    }
  }
}
