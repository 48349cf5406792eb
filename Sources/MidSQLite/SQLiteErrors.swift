import Foundation
import GRDB
import MidCore

/// Turns SQLite's and the file system's errors into the store's, each with one line of what to do.
enum SQLiteErrors {
  /// The store's error for whatever an operation on `path` threw.
  static func translate(_ error: any Error, _ path: String) -> IDError {
    if let error = error as? IDError { return error }
    guard let error = error as? DatabaseError else {
      return IDError(.storeUnavailable, "the SQLite file \(path) failed: \(self.reason(error))")
    }
    let what = "\(error.message ?? "no message") (SQLite code \(error.extendedResultCode.rawValue))"
    switch error.resultCode {
    case .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_PROTOCOL:
      return IDError(.storeUnavailable, "the SQLite file \(path) is locked by another process: \(what)")
    case .SQLITE_FULL:
      return IDError(.storeUnavailable, "the disk of the SQLite file \(path) is full; make room: \(what)")
    case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH:
      return IDError(
        .storeRejected, "the SQLite file \(path) can't be opened; let this user write it and its folder: \(what)")
    case .SQLITE_READONLY:
      return IDError(
        .storeRejected, "the SQLite file \(path) can't be written; let this user write it and its folder: \(what)")
    case .SQLITE_NOTADB:
      return IDError(.storeRejected, "\(path) is not a SQLite database; name another file: \(what)")
    case .SQLITE_CORRUPT, .SQLITE_FORMAT:
      return IDError(.storeRejected, "the SQLite file \(path) is damaged; restore it from a copy: \(what)")
    case .SQLITE_ERROR, .SQLITE_MISMATCH, .SQLITE_CONSTRAINT, .SQLITE_SCHEMA:
      return IDError(
        .storeRejected, "the tables in the SQLite file \(path) are not as needed; name another file: \(what)")
    default:
      return IDError(.storeUnavailable, "the SQLite file \(path) failed: \(what)")
    }
  }

  /// The reason inside an error of the file system, without the layers around it.
  static func reason(_ error: any Error) -> String {
    let outer = error as NSError
    let inner = outer.userInfo[NSUnderlyingErrorKey] as? NSError ?? outer
    return inner.domain == NSPOSIXErrorDomain
      ? String(cString: strerror(Int32(inner.code))) : outer.localizedDescription
  }
}
