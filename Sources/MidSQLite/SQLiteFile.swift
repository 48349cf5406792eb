import Foundation
import GRDB
import MidCore

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Opens the database file so that a commit is on the disk when it returns.
enum SQLiteFile {
  /// Opens `path`, making it and its folder where they are missing.
  static func connect(_ path: String, busyTimeout: Duration) throws -> DatabaseQueue {
    guard !path.isEmpty else { throw IDError(.storeRejected, "the path of the SQLite file is empty; name a file") }
    try self.createFolder(of: path)
    let database = try self.connection(to: path, busyTimeout: busyTimeout)
    try database.writeWithoutTransaction { try self.makeDurable($0, path: path) }
    return database
  }

  /// Opens `path` and changes nothing in it.
  static func connection(to path: String, busyTimeout: Duration) throws -> DatabaseQueue {
    var configuration = Configuration()
    configuration.label = "mid.sqlite.connection"
    configuration.busyMode = .timeout(busyTimeout / .seconds(1))
    return try DatabaseQueue(path: path, configuration: configuration)
  }

  /// Throws where this user can't write the file and make others beside it, or can't make what is missing of its path.
  static func checkWritable(_ path: String) throws(IDError) {
    let files = FileManager.default
    var folder = URL(fileURLWithPath: path).standardizedFileURL.deletingLastPathComponent()
    while !files.fileExists(atPath: folder.path), folder.path != "/" { folder.deleteLastPathComponent() }
    for each in [path, folder.path] where files.fileExists(atPath: each) && !files.isWritableFile(atPath: each) {
      throw IDError(
        .storeRejected,
        "the SQLite file \(path) can't be used by this user: \(each) can't be written; let it, or name "
          + "another file")
    }
  }

  /// Names write-ahead mode where the file is not in it yet. ``connect(_:busyTimeout:)`` sets it.
  static func missingMode(of db: Database) throws -> [String] {
    let mode = try self.durability(of: db).journalMode
    return mode == "wal" ? [] : ["write-ahead mode (it is in mode \(mode))"]
  }

  /// Sets write-ahead mode with full synchronisation, and reads both back.
  ///
  /// GRDB's own write-ahead modes set `synchronous = NORMAL`, with which a power cut takes back commits that were
  /// reported: ids would be issued twice. So the modes are set here, on the one connection there is, and proved.
  private static func makeDurable(_ db: Database, path: String) throws {
    let mode = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL") ?? "none"
    guard mode.lowercased() == "wal" else {
      throw IDError(
        .storeRejected,
        "the SQLite file \(path) can't use write-ahead mode (it stays in mode \(mode)); put it on a local disk")
    }
    try db.execute(sql: "PRAGMA synchronous = FULL")
    // Without this, macOS leaves the data in the drive's cache. Elsewhere it changes nothing.
    try db.execute(sql: "PRAGMA fullfsync = 1")
    let proof = try self.durability(of: db)
    guard proof.journalMode == "wal", proof.synchronous == 2 else {
      throw IDError(
        .storeRejected,
        "the SQLite file \(path) does not commit durably (journal mode \(proof.journalMode), synchronous "
          + "\(proof.synchronous), needed: wal and 2); put it on a local disk")
    }
  }

  /// The connection's journal mode, and its `synchronous` level: 2 is FULL.
  static func durability(of db: Database) throws -> (journalMode: String, synchronous: Int) {
    let mode = try String.fetchOne(db, sql: "PRAGMA journal_mode") ?? "none"
    let synchronous = try Int.fetchOne(db, sql: "PRAGMA synchronous") ?? -1
    return (mode.lowercased(), synchronous)
  }

  /// Makes the folder of `path`, readable by this user alone, and has its parents' entries on the disk.
  private static func createFolder(of path: String) throws {
    var missing: [URL] = []
    var folder = URL(fileURLWithPath: path).deletingLastPathComponent().standardizedFileURL
    while !FileManager.default.fileExists(atPath: folder.path), folder.path != "/" {
      missing.append(folder)
      folder = folder.deletingLastPathComponent()
    }
    guard let deepest = missing.first else { return }
    do {
      try FileManager.default.createDirectory(
        at: deepest, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw IDError(
        .storeRejected,
        "the folder of the SQLite file \(path) can't be created (\(SQLiteErrors.reason(error))); create it, or name "
          + "another file")
    }
    for created in missing { self.synchronise(created.deletingLastPathComponent().path) }
  }

  /// Asks the disk to keep a folder's entries. Where a file system can't do that, SQLite's own checks still stand.
  private static func synchronise(_ folder: String) {
    let descriptor = open(folder, O_RDONLY)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }
}
